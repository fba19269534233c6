// What the guides quote, built and run as a test: `// [name]` and `// [/name]` mark the parts.

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <cstdio>
#include <future>
#include <stdexcept>
#include <thread>

#include <terrace/memory_adapter.hpp>
#include <terrace/terrace.hpp>

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

void expect(bool true_here, int line = __builtin_LINE())
{
    if (!true_here)
        throw std::logic_error("guides.cpp:" + std::to_string(line) + " is not as the guides say");
}

template <class Exception>
void expect_throw(auto&& call, int line = __builtin_LINE())
{
    try {
        call();
    } catch (const Exception&) {
        return;
    }
    expect(false, line);
}

const auto layout = terrace::memory_layout::bytes(4096);

std::vector<terrace::object_key> keys_of(std::uint32_t prompt, std::size_t chunks = 4)
{
    const std::vector<std::uint32_t> tokens(chunks * 256, prompt);
    return terrace::token_hasher{256}.keys(tokens, "my-model");
}

std::unique_ptr<terrace::l2_adapter> slow_store(terrace::nanoseconds latency = 0ms)
{
    terrace::memory_options options;
    options.latency = latency;
    return std::make_unique<terrace::memory_adapter>(options);
}

// ---- from a coroutine ------------------------------------------------------------------------------------------

asio::awaitable<void> write_and_read(terrace::storage_manager& manager)
{
    const auto keys = keys_of(1);
    // [write]
    auto staged = manager.reserve_write(keys, layout);
    terrace::bitmap filled{staged.size()};
    for (std::size_t i = 0; i < staged.size(); ++i) {
        if (staged.ok(i) != terrace::l1_error::none)
            continue; // resident already, or there is no room
        std::ranges::fill(staged.bytes(i), std::byte{42});
        filled.set(i);
    }
    staged.commit(filled); // readers see these from here on; the others are discarded
    // [/write]
    expect(staged.size() == 0);
    co_await manager.flush();

    // [write-when-free]
    const auto until = std::chrono::steady_clock::now() + 5s;
    auto room = co_await manager.reserve_write_when_free(keys_of(2), layout, until);
    // [/write-when-free]
    expect(room.leading() == 4);

    // [readers]
    terrace::prefetch_request request{keys, layout};
    request.set_readers(2);
    auto hits = co_await manager.prefetch(std::move(request));
    for (terrace::read_lease& worker : hits.lease.split())
        expect(worker.size() == hits.prefix_hits); // hand it to the worker, who drops it when it has copied
    // [/readers]
    expect(manager.status().l1.locks == 0);

    // [ticket]
    auto ticket = co_await manager.lookup({keys, layout});
    if (ticket.prefix_hits() >= 2) {          // worth it?
        auto loaded = co_await ticket.load(); // what was found is still there: it has been locked since
        expect(loaded.prefix_hits == keys.size());
    } // else the ticket is dropped, and unlocks
    // [/ticket]
}

asio::awaitable<void> cancel(terrace::storage_manager& manager)
{
    const auto keys = keys_of(3);
    // [cancel]
    using namespace asio::experimental::awaitable_operators;
    asio::steady_timer client_gone{co_await asio::this_coro::executor, 20ms};
    auto first = co_await (manager.prefetch({keys, layout}) || client_gone.async_wait(asio::use_awaitable));
    if (first.index() == 1) {
        // The prefetch was cancelled: it has given back every lock it had.
    }
    // [/cancel]
    expect(first.index() == 1);
    expect(manager.status().l1.locks == 0);
}

asio::awaitable<void> errors(terrace::storage_manager& manager)
{
    const auto keys = keys_of(1);
    // [errors]
    try {
        auto hits = co_await manager.prefetch({keys, layout});
        // hits.prefix_hits may be 0: that is no error
    } catch (const boost::system::system_error& e) {
        if (e.code() == terrace::errc::closed)
            std::puts("we are shutting down");
        else if (e.code() != asio::error::operation_aborted) // cancelled: by ourselves
            throw;
    }
    // [/errors]
    expect_throw<std::invalid_argument>([&] {
        auto twice = keys;
        twice.push_back(twice.front());
        (void)manager.reserve_write(twice, layout);
    });
}

void on_one_thread()
{
    // [close]
    asio::io_context io{1};
    terrace::storage_manager manager{io.get_executor()};
    manager.add_adapter(slow_store());
    std::exception_ptr failed;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await write_and_read(manager);
            co_await errors(manager);
            co_await manager.flush(); // else what is still queued for L2 is dropped, and counted
            co_await manager.close();
        },
        [&](std::exception_ptr error) { failed = error; });
    io.run();
    if (failed)
        std::rethrow_exception(failed);
    // [/close]
    const auto closed = manager.status();
    expect(closed.l1.locks == 0 && closed.prefetch.l2_locks == 0 && closed.store.queued_objects == 0);
    expect(manager.read(keys_of(1)).empty());
    expect_throw<boost::system::system_error>([&] { (void)manager.submit_prefetch({keys_of(1), layout}); });
}

void cancelled()
{
    asio::io_context io{1};
    terrace::storage_manager manager{io.get_executor()};
    manager.add_adapter(slow_store(500ms));
    asio::cancellation_signal stop; // used on the engine's executor alone
    boost::system::error_code stopped;
    auto outcome = [&](std::exception_ptr error, const terrace::prefetch_result&) {
        try {
            std::rethrow_exception(error);
        } catch (const boost::system::system_error& e) {
            stopped = e.code();
        }
    };
    manager.async_prefetch({keys_of(4), layout}, asio::bind_cancellation_slot(stop.slot(), std::move(outcome)));
    auto done = asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            stop.emit(asio::cancellation_type::terminal);
            co_await cancel(manager);
            co_await manager.close();
        },
        asio::use_future);
    io.run();
    done.get();
    expect(stopped == asio::error::operation_aborted);
}

// ---- from other threads ----------------------------------------------------------------------------------------

void from_other_threads()
{
    // [thread]
    asio::io_context io{1};
    auto busy = asio::make_work_guard(io); // or run() returns while nothing is to be done
    terrace::storage_manager manager{io.get_executor()};
    std::thread engine{[&] { io.run(); }};
    // [/thread]
    manager.add_adapter(slow_store());
    const auto keys = keys_of(1);
    manager.reserve_write(keys, layout).commit();

    // [future]
    auto result = manager.async_prefetch({keys, layout}, asio::use_future);
    terrace::prefetch_result hits = result.get(); // on any thread but the executor's, which has the work to do
    // [/future]
    expect(hits.prefix_hits == 4);
    hits = {};

    asio::thread_pool pool{1};
    std::promise<bool> elsewhere;
    // [callback]
    auto done = [&](std::exception_ptr error, terrace::prefetch_result brought) {
        elsewhere.set_value(!error && std::this_thread::get_id() != engine.get_id() && brought.prefix_hits == 4);
    };
    manager.async_prefetch({keys, layout}, asio::bind_executor(pool.get_executor(), std::move(done)));
    // [/callback]
    expect(elsewhere.get_future().get());

    std::promise<bool> on_engine;
    manager.async_prefetch({keys, layout}, [&](std::exception_ptr, terrace::prefetch_result) {
        on_engine.set_value(std::this_thread::get_id() == engine.get_id());
    });
    expect(on_engine.get_future().get());

    // A coroutine of another executor is resumed there.
    auto resumed = asio::co_spawn(
        pool,
        [&]() -> asio::awaitable<bool> {
            const auto before = std::this_thread::get_id();
            auto brought = co_await manager.prefetch({keys, layout});
            co_return before == std::this_thread::get_id() && brought.prefix_hits == 4;
        },
        asio::use_future);
    expect(resumed.get());

    // [stop]
    manager.async_flush(asio::use_future).get();
    manager.async_close(asio::use_future).get();
    busy.reset();
    engine.join();
    // [/stop]
}

void on_a_strand()
{
    // [strand]
    asio::thread_pool threads{4};
    terrace::storage_manager manager{asio::make_strand(threads)};
    // [/strand]
    manager.add_adapter(slow_store());
    const auto keys = keys_of(1);
    manager.reserve_write(keys, layout).commit();
    expect(manager.async_prefetch({keys, layout}, asio::use_future).get().prefix_hits == 4);
    manager.async_close(asio::use_future).get();
}

void leases_outlive_the_manager()
{
    asio::io_context io{1};
    terrace::read_lease lease;
    {
        terrace::storage_manager manager{io.get_executor()};
        manager.reserve_write(keys_of(1), layout).commit();
        lease = manager.read(keys_of(1));
    }
    io.run();
    expect(lease.size() == 4 && lease.bytes(3).size() == 4096);
}

// ---- settings and policies -------------------------------------------------------------------------------------

// [own-prefetch-policy]
/// Loads from the last adapter that has the key, and keeps in L1 what no tenant has for itself.
class last_first final : public terrace::prefetch_policy {
public:
    [[nodiscard]] std::string_view name() const noexcept override { return "last_first"; }

    [[nodiscard]] terrace::load_plan select_load_plan(std::span<const terrace::object_key> keys,
                                                      std::span<const terrace::bitmap> found) const override
    {
        terrace::load_plan plan{keys.size()};
        for (std::uint32_t adapter = 0; adapter < found.size(); ++adapter)
            found[adapter].for_each_set([&](std::size_t key) { plan.set_source(key, adapter); });
        return plan;
    }

    [[nodiscard]] terrace::bitmap select_l1_retentions(std::span<const terrace::object_key> keys) const override
    {
        terrace::bitmap retained{keys.size()};
        for (std::size_t i = 0; i < keys.size(); ++i)
            retained.set(i, keys[i].cache_salt().empty());
        return retained;
    }
};
// [/own-prefetch-policy]

// [own-store-policy]
/// Stores each key in one adapter, by its hash: a shard.
class sharded final : public terrace::store_policy {
public:
    [[nodiscard]] std::string_view name() const noexcept override { return "sharded"; }

    [[nodiscard]] std::vector<terrace::bitmap> select_targets(const terrace::store_candidates& candidates) override
    {
        std::vector<terrace::bitmap> targets(candidates.adapters, terrace::bitmap{candidates.keys.size()});
        for (std::size_t i = 0; i < candidates.keys.size() && !targets.empty(); ++i)
            targets[candidates.keys[i].hash_code() % targets.size()].set(i);
        return targets;
    }
};
// [/own-store-policy]

void own_policies()
{
    asio::io_context io{1};
    // [use-policies]
    terrace::config config;
    config.prefetch = std::make_shared<last_first>();
    config.store = std::make_shared<sharded>();
    config.eviction.policy = "isolated_lru";
    config.eviction.quotas = std::make_shared<terrace::quota_table>();
    config.eviction.quotas->set("tenant-a", std::uint64_t{8} << 30); // bytes of L1 that it may keep
    terrace::storage_manager manager{io.get_executor(), config};
    // [/use-policies]
    manager.add_adapter(slow_store());
    manager.add_adapter(slow_store());
    const auto keys = keys_of(1, 64);
    manager.reserve_write(keys, layout).commit();
    auto run = asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await manager.flush();
            manager.clear(terrace::clear_mode::unlocked);
            auto hits = co_await manager.prefetch({keys, layout});
            expect(hits.l2_hits == 64);
            const auto now = manager.status();
            expect(now.adapters[0].self.objects > 8 && now.adapters[1].self.objects > 8);
            expect(now.adapters[0].self.objects + now.adapters[1].self.objects == 64);
            hits = {};
            expect(manager.status().l1.resident_objects == 64);
            co_await manager.close();
        },
        asio::use_future);
    io.run();
    run.get();
}

void settings()
{
    asio::io_context io{1};
    // [settings]
    terrace::config config;
    config.l1.capacity_bytes = std::uint64_t{64} << 20;
    config.l1.prefault = terrace::prefault_mode::at_start; // pages are there before the first request
    config.prefetch_limits.window_bytes = std::uint64_t{4} << 20;
    terrace::storage_manager manager{io.get_executor(), config};

    terrace::adapter_options options;
    options.lookup_timeout = 50ms;
    options.load_timeout = 2s;
    options.store_queue_full = terrace::full_queue_policy::drop_oldest;
    manager.add_adapter(slow_store(), options);
    // [/settings]
    expect(manager.status().l1.capacity_bytes == std::uint64_t{64} << 20);

    // [status]
    const terrace::engine_status now = manager.status();
    for (const terrace::adapter_entry& adapter : now.adapters)
        if (adapter.health != terrace::adapter_health::healthy)
            std::printf("%s: %s\n", adapter.self.name.c_str(), adapter.self.problem.c_str());
    std::puts(to_json(now).c_str());
    // [/status]
    auto closed = manager.async_close(asio::use_future);
    io.run();
    closed.get();
}

} // namespace

int main()
{
    on_one_thread();
    cancelled();
    from_other_threads();
    on_a_strand();
    leases_outlive_the_manager();
    own_policies();
    settings();
}
