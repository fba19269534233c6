// Lesson 3: time. The number of hits before a byte moves, the head readable while the tail still loads, and a deadline
// that answers with what is there. The store below plays a slow disk: 64 MiB/s.
//
// Prints what could be had at which time.

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <cstdio>
#include <numeric>
#include <stdexcept>

#include <terrace/memory_adapter.hpp>
#include <terrace/terrace.hpp>

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr std::size_t chunks = 32;
constexpr std::size_t chunk_bytes = 256 << 10; // 4 ms from the slow disk
const auto layout = terrace::memory_layout::bytes(chunk_bytes);

std::vector<terrace::object_key> keys_of_the_prompt()
{
    std::vector<std::uint32_t> tokens(chunks * 256);
    std::iota(tokens.begin(), tokens.end(), 0);
    return terrace::token_hasher{256}.keys(tokens, "my-model");
}

struct stopwatch {
    std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
    [[nodiscard]] double ms() const
    {
        return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    }
};

/// Puts the prompt into the store below, and out of L1.
asio::awaitable<void> prepare(terrace::storage_manager& manager)
{
    auto staged = manager.reserve_write(keys_of_the_prompt(), layout);
    for (std::size_t i = 0; i < staged.size(); ++i)
        std::ranges::fill(staged.bytes(i), static_cast<std::byte>(i));
    staged.commit();
    co_await manager.flush();
    manager.clear(terrace::clear_mode::unlocked);
}

void check(const terrace::read_lease& head)
{
    for (std::size_t i = 0; i < head.size(); ++i)
        if (head.bytes(i).front() != static_cast<std::byte>(i) || head.bytes(i).back() != static_cast<std::byte>(i))
            throw std::logic_error("these are not the bytes that were written");
}

asio::awaitable<void> count(terrace::storage_manager& manager)
{
    std::puts("A lookup counts and pins:");
    stopwatch watch;
    // [lookup]
    auto ticket = co_await manager.lookup({keys_of_the_prompt(), layout});
    std::printf("  %5.1f ms: %zu chunks can be had\n", watch.ms(), ticket.prefix_hits());
    // [/lookup]
    if (ticket.prefix_hits() != chunks)
        throw std::logic_error("all chunks were expected");
} // ticket.load() would go on from here; dropped, it unpins

asio::awaitable<void> stream(terrace::storage_manager& manager)
{
    std::puts("The head is readable while the tail still loads:");
    stopwatch watch;
    // [stream]
    auto handle = manager.submit_prefetch({keys_of_the_prompt(), layout});
    for (std::size_t wanted = 8; wanted <= chunks; wanted += 8) {
        auto head = co_await handle.readable(wanted); // a lease of its own: copy it to the GPU now
        std::printf("  %5.1f ms: %zu of %zu chunks\n", watch.ms(), head.size(), handle.lookup_hits().value());
        check(head);
    }
    auto all = co_await handle.wait();
    // [/stream]
    if (all.prefix_hits != chunks)
        throw std::logic_error("all chunks were expected");
}

asio::awaitable<void> hurry(terrace::storage_manager& manager)
{
    std::puts("At the deadline, what is there is the answer:");
    stopwatch watch;
    // [deadline]
    terrace::prefetch_request request{keys_of_the_prompt(), layout};
    request.set_deadline(std::chrono::steady_clock::now() + 60ms);
    auto some = co_await manager.prefetch(std::move(request));
    std::printf("  %5.1f ms: %zu chunks; the other %zu are computed\n", watch.ms(), some.prefix_hits,
                chunks - some.prefix_hits);
    // [/deadline]
    check(some.lease);
    if (!some.timed_out || some.prefix_hits == chunks)
        throw std::logic_error("only a part was expected");
}

int main()
{
    asio::io_context io{1};
    terrace::config config;
    config.l1.capacity_bytes = 64 << 20;
    // [window]
    config.prefetch_limits.window_bytes = 4 * chunk_bytes; // four chunks land, and can be read, together
    // [/window]
    terrace::storage_manager manager{io.get_executor(), config};
    terrace::memory_options slow_disk;
    slow_disk.latency = 1ms;
    slow_disk.bandwidth_bytes_per_second = 64 << 20;
    manager.add_adapter(std::make_unique<terrace::memory_adapter>(slow_disk));

    auto ended = asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await prepare(manager);
            co_await count(manager);
            co_await stream(manager);
            co_await hurry(manager);
            co_await manager.close();
        },
        asio::use_future);
    io.run();
    ended.get();
}
