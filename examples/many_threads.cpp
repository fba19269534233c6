// Lesson 5: many threads. The engine wants an executor that runs one handler at a time. Here that is a strand of a pool
// of threads which the requests use as well: they run side by side on all threads, each on a strand of its own, and
// what they ask of the engine crosses over to its strand and back.
//
// Prints how much was served on how many threads, and that the engine's handlers never met.

#include <algorithm>
#include <atomic>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <cstdio>
#include <future>
#include <memory>
#include <stdexcept>

#include <terrace/memory_adapter.hpp>
#include <terrace/terrace.hpp>

namespace asio = boost::asio;
using strand = asio::strand<asio::thread_pool::executor_type>;

constexpr std::size_t threads = 4;
constexpr std::size_t sessions = 64;
constexpr std::size_t chunks = 8; // of each prompt
const auto layout = terrace::memory_layout::bytes(4096);

std::vector<terrace::object_key> keys_of_prompt(std::size_t number)
{
    std::vector<std::uint32_t> tokens(chunks * 256, static_cast<std::uint32_t>(number));
    return terrace::token_hasher{256}.keys(tokens, "my-model");
}

// [policy]
/// Stores everything, and counts. The count needs neither a lock nor an atomic, for the engine calls its policies and
/// adapters on its executor, where one handler runs at a time.
class counting_policy final : public terrace::store_policy {
public:
    [[nodiscard]] std::string_view name() const noexcept override { return "counting"; }
    [[nodiscard]] std::vector<terrace::bitmap> select_targets(const terrace::store_candidates& candidates) override
    {
        ++batches;
        return std::vector<terrace::bitmap>(candidates.adapters, terrace::bitmap{candidates.keys.size(), true});
    }
    std::size_t batches = 0;
};
// [/policy]

// [coroutine]
/// One request: writes its prompt, and has it brought back. Runs on `own`, a strand of the pool.
asio::awaitable<std::size_t> serve(terrace::storage_manager& manager, strand own, std::size_t number)
{
    const auto keys = keys_of_prompt(number);
    auto staged =
        manager.reserve_write(keys, layout); // does not wait: any thread may call it, and nothing crosses over
    for (std::size_t i = 0; i < staged.size(); ++i)
        std::ranges::fill(staged.bytes(i), static_cast<std::byte>(number));
    staged.commit();

    co_await manager.flush(); // waits: crosses over to the engine's thread, and comes back
    if (!own.running_in_this_thread())
        throw std::logic_error("a coroutine is resumed on the executor that it was started on");

    manager.erase(keys);
    auto hits = co_await manager.prefetch({keys, layout});
    for (std::size_t i = 0; i < hits.lease.size(); ++i)
        if (hits.lease.bytes(i).front() != static_cast<std::byte>(number))
            throw std::logic_error("these are not the bytes that were written");
    co_return hits.prefix_hits;
}
// [/coroutine]

// [callbacks]
/// The same by callbacks: a session that has several prompts fetched at once. What it counts needs no lock either, for
/// bind_executor() has the callbacks called on the session's strand, and not on the engine's thread.
class session : public std::enable_shared_from_this<session> {
public:
    explicit session(strand own) : own_{std::move(own)} {}

    std::future<std::size_t> fetch(terrace::storage_manager& manager, std::size_t prompts)
    {
        missing_ = prompts;
        for (std::size_t number = 0; number < prompts; ++number)
            manager.async_prefetch(
                {keys_of_prompt(number), layout},
                asio::bind_executor(
                    own_, [me = shared_from_this()](std::exception_ptr error, const terrace::prefetch_result& hits) {
                        me->landed(error, hits.prefix_hits);
                    }));
        return all_.get_future();
    }

private:
    void landed(const std::exception_ptr& error, std::size_t hits)
    {
        brought_ += error ? 0 : hits;
        if (--missing_ == 0)
            all_.set_value(brought_);
    }

    strand own_;
    std::size_t missing_ = 0; // touched on own_ alone, once the first prefetch has started
    std::size_t brought_ = 0;
    std::promise<std::size_t> all_;
};
// [/callbacks]

int main()
{
    // [main]
    asio::thread_pool engine_thread{1};
    asio::thread_pool pool{threads};
    const auto policy = std::make_shared<counting_policy>();
    terrace::config config;
    config.l1.capacity_bytes = 16 << 20;
    config.store = policy;
    terrace::storage_manager manager{engine_thread.get_executor(), config};
    manager.add_adapter(std::make_unique<terrace::memory_adapter>());

    std::vector<std::future<std::size_t>> served;
    for (std::size_t number = 0; number < sessions; ++number) {
        const strand own = asio::make_strand(pool);
        served.push_back(asio::co_spawn(own, serve(manager, own, number), asio::use_future));
    }
    // [/main]
    std::size_t brought = 0;
    for (auto& one : served)
        brought += one.get();
    std::printf("%zu requests on %zu threads: %zu chunks came back\n", sessions, threads, brought);

    const std::size_t again = std::make_shared<session>(asio::make_strand(pool))->fetch(manager, sessions).get();
    std::printf("one session with %zu prefetches at once: %zu chunks\n", sessions, again);

    // [end]
    pool.join(); // no request is left
    manager.async_close(asio::use_future).get();
    engine_thread.join();
    // [/end]
    std::printf("the engine asked its policy %zu times\n", policy->batches);
    if (brought != sessions * chunks || again != sessions * chunks || policy->batches != sessions)
        throw std::logic_error("some are missing");
}
