// The one door: what comes in, who holds what it gave out, and on which thread.

#include "support/world.hpp"

#include <boost/asio/detached.hpp>
#include <boost/asio/use_future.hpp>
#include <thread>

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

TEST_CASE("adapters come and go while the engine runs")
{
    world w{{.adapters = 2}};
    w.put(*w.adapters[0], "a");
    w.put(*w.adapters[1], "b");
    SUBCASE("removal waits for what is in flight, and starts nothing more")
    {
        w.adapters[0]->loads.shut();
        auto hits = w.start(w.prefetch("a b"));
        auto removed = w.start(w.manager.remove_adapter(w.ids[0]));
        CHECK_FALSE(removed.done());
        CHECK(w.run(w.prefetch("b")).prefix_hits == 1);
        CHECK(words(w.adapters[0]->looked_up) == "a b");
        w.adapters[0]->loads.open();
        w.settle();
        CHECK(removed.take());
        CHECK(hits.take().prefix_hits == 2);
        CHECK(w.adapters[0]->closed);
        CHECK(w.manager.status().adapters.size() == 1);
    }
    SUBCASE("what is queued for it is dropped and counted")
    {
        w.adapters[0]->stores.shut();
        for (const char* word : {"p", "q", "r", "s", "t"}) // four in flight, one queued
            w.write(word);
        auto removed = w.start(w.manager.remove_adapter(w.ids[0]));
        CHECK(w.manager.status().store.dropped_objects == 1);
        w.adapters[0]->stores.open();
        w.settle();
        CHECK(removed.take());
        CHECK(words(w.adapters[1]->stored) == "p q r s t");
    }
    SUBCASE("one that is not there cannot go")
    {
        w.run(w.manager.remove_adapter(w.ids[0]));
        auto again = w.start(w.manager.remove_adapter(w.ids[0]));
        CHECK(again.failed_with(errc::unknown_adapter));
    }
    SUBCASE("one that comes takes part from then on")
    {
        auto fresh = std::make_shared<scripted_adapter::script>();
        w.put(*fresh, "c");
        w.manager.add_adapter(std::make_unique<scripted_adapter>(fresh));
        CHECK(w.run(w.prefetch("a b c")).prefix_hits == 3);
    }
    SUBCASE("who gives up waiting for a removal does not stop it")
    {
        w.adapters[0]->closing.shut();
        auto removed = w.start(w.manager.remove_adapter(w.ids[0]));
        removed.cancel();
        w.settle();
        CHECK(removed.was_aborted());
        w.adapters[0]->closing.open();
        w.settle();
        CHECK(w.adapters[0]->destroyed);
    }
    w.close();
}

TEST_CASE("a manager that is moved goes on under its new name")
{
    asio::io_context io;
    config cfg;
    cfg.l1.capacity_bytes = 1 << 20;
    const auto names = keys("a");
    storage_manager first{io.get_executor(), cfg};
    first.reserve_write(names, memory_layout::bytes(object_bytes)).commit();
    storage_manager second{std::move(first)};
    CHECK(second.read(names).size() == 1);
    storage_manager third{io.get_executor(), cfg};
    third = std::move(second); // what it had is abandoned
    CHECK(third.read(names).size() == 1);
    asio::co_spawn(io, third.close(), asio::detached);
    io.run();
    CHECK(third.read(names).empty());
}

TEST_CASE("bad configuration is refused with the value and what was expected")
{
    asio::io_context io;
    const auto refused = [&](auto change, const char* why) {
        config cfg;
        cfg.l1.capacity_bytes = 1 << 20;
        change(cfg);
        CHECK_THROWS_WITH_AS(storage_manager(io.get_executor(), cfg), doctest::Contains(why), std::invalid_argument);
    };
    refused([](config& c) { c.l1.capacity_bytes = 100; }, "l1.capacity_bytes is 100; expected 4096");
    refused([](config& c) { c.l1.alignment_bytes = 100; }, "l1.alignment_bytes is 100; expected a power of two");
    refused([](config& c) { c.eviction.high_watermark = 1.5; }, "eviction.high_watermark is 1.5");
    refused([](config& c) { c.eviction.low_watermark = 0.99; }, "eviction.low_watermark is 0.99; expected 0 to");
    refused([](config& c) { c.eviction.policy = "mru"; },
            "\"mru\" is unknown; expected lru, s3fifo, isolated_lru or none");
    refused(
        [](config& c) {
            c.l1.capacity_bytes = 4096;
            c.l1.alignment_bytes = 8192;
        },
        "l1.alignment_bytes is 8192; expected at most l1.capacity_bytes, which is 4096");
    refused([](config& c) { c.pinned_limit = 1.5; }, "pinned_limit is 1.5; expected 0 to 1");
    refused([](config& c) { c.eviction.make_policy = [] { return nullptr; }; }, "eviction.make_policy returned null");
    refused([](config& c) { c.prefetch = nullptr; }, "prefetch is null");
    refused([](config& c) { c.store = nullptr; }, "store is null");
    refused([](config& c) { c.prefetch_limits.requests_in_flight = 0; },
            "requests_in_flight is 0; expected at least 1");
    refused([](config& c) { c.prefetch_limits.window_bytes = 0; }, "window_bytes is 0; expected at least 1");
    refused([](config& c) { c.prefetch_limits.room_timeout = {}; }, "room_timeout is 0; expected 1 ms to a year");
    refused([](config& c) { c.close_timeout = {}; }, "close_timeout is 0; expected 1 ms to a year");
    refused([](config& c) { c.close_timeout = std::chrono::milliseconds::max(); }, "; expected 1 ms to a year");
    CHECK_THROWS_WITH_AS(storage_manager(asio::any_io_executor{}), doctest::Contains("the executor is empty"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)prefetch_policy::make("x"), doctest::Contains("expected default or retain"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)store_policy::make("x"),
                         doctest::Contains("expected default, skip_l1, second_touch, write_budget or tiered"),
                         std::invalid_argument);
    world w;
    const auto refused_adapter = [&](auto change, const char* why) {
        adapter_options bad;
        change(bad);
        CHECK_THROWS_WITH_AS(w.manager.add_adapter(std::make_unique<scripted_adapter>(w.adapters[0]), bad),
                             doctest::Contains(why), std::invalid_argument);
    };
    refused_adapter([](adapter_options& o) { o.load_timeout = std::chrono::milliseconds{-1}; }, "load_timeout is -1");
    refused_adapter([](adapter_options& o) { o.lookup_timeout = std::chrono::milliseconds::max(); },
                    "lookup_timeout is 9223372036854775807; expected 1 ms to a year");
    refused_adapter([](adapter_options& o) { o.store_window_bytes = 0; }, "store_window_bytes is 0");
    refused_adapter([](adapter_options& o) { o.store_retries.attempts = 0; }, "attempts is 0; expected at least 1");
    refused_adapter([](adapter_options& o) { o.store_retries.backoff = {}; }, "store_retries.backoff is 0");
    refused_adapter([](adapter_options& o) { o.store_retries.backoff = std::chrono::seconds{6}; },
                    "backoff is 6000; expected 1 ms to max_backoff, which is 5000 ms");
    refused_adapter([](adapter_options& o) { o.store_retries.max_backoff = std::chrono::hours{25}; },
                    "max_backoff is 90000000; expected 1 ms to one day");
    refused_adapter([](adapter_options& o) { o.store_retries.give_up_after = {}; }, "give_up_after is 0");
    CHECK_THROWS_WITH_AS(w.manager.add_adapter(nullptr), doctest::Contains("null"), std::invalid_argument);
}

TEST_CASE("a handle that is dropped cancels its prefetch")
{
    world w;
    w.put("a");
    w.l2.lookups.shut();
    SUBCASE("dropped before it has begun")
    {
        auto handle = w.manager.submit_prefetch(w.request("a"));
        handle = {};
        w.settle();
        w.l2.lookups.open();
        w.settle();
        CHECK(w.l2.load_calls == 0);
    }
    SUBCASE("dropped in the lookup")
    {
        {
            auto handle = w.manager.submit_prefetch(w.request("a"));
            w.settle();
            CHECK(w.l2.lookup_calls == 1);
        }
        w.settle();
        w.l2.lookups.open();
        w.settle();
        CHECK(w.l2.load_calls == 0);
    }
    SUBCASE("cancelled by name")
    {
        auto handle = w.manager.submit_prefetch(w.request("a"));
        w.settle();
        auto waiter = w.start(handle.wait());
        handle.cancel();
        w.settle();
        CHECK(waiter.was_aborted());
    }
    SUBCASE("another is assigned over it")
    {
        auto handle = w.manager.submit_prefetch(w.request("a"));
        w.settle();
        handle = prefetch_handle{};
        w.settle();
        w.l2.lookups.open();
        w.settle();
        CHECK(w.l2.load_calls == 0);
    }
    w.l2.lookups.open();
    w.settle();
    CHECK(w.l2.total_locks() == 0);
    w.close();
}

TEST_CASE("a handle has one waiter, and whoever else asks is told so")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto handle = w.manager.submit_prefetch(w.request("a"));
    auto first = w.start(handle.wait());
    auto second = w.start(handle.wait());
    CHECK_FALSE(first.done());
    CHECK(second.was_aborted());
    w.l2.loads.open();
    w.settle();
    CHECK(first.take().prefix_hits == 1);
    auto third = w.start(handle.wait()); // the result has been taken
    CHECK(third.was_aborted());
    w.close();
}

TEST_CASE("a bad batch is refused at every door, and nothing has changed")
{
    world w;
    const auto later = w.time->now() + 1s;
    const auto refused = [](auto&& call, const char* why) {
        CHECK_THROWS_WITH_AS(call(), doctest::Contains(why), std::invalid_argument);
    };
    const memory_layout nothing;
    SUBCASE("a key that stands twice")
    {
        const char* why = "stands twice, at ";
        const char* batch = "a b a";
        SUBCASE("in a small batch") {}
        SUBCASE("in a large one")
        {
            batch = "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 0";
        }
        const auto twice = keys(batch);
        refused([&] { (void)w.manager.reserve_write(twice, w.layout); }, why);
        refused([&] { (void)w.run(w.manager.reserve_write_when_free(twice, w.layout, later)); }, why);
        refused([&] { (void)w.manager.read(twice); }, why);
        refused([&] { (void)w.manager.erase(twice); }, why);
        refused([&] { (void)w.manager.submit_prefetch({twice, w.layout}); }, why);
        refused([&] { (void)w.run(w.manager.lookup({twice, w.layout})); }, why);
    }
    SUBCASE("a layout of zero bytes")
    {
        const char* why = "the layout has 0 bytes";
        refused([&] { (void)w.manager.reserve_write(keys("a"), nothing); }, why);
        refused([&] { (void)w.run(w.manager.reserve_write_when_free(keys("a"), nothing, later)); }, why);
        refused([&] { (void)w.manager.submit_prefetch({keys("a"), nothing}); }, why);
    }
    SUBCASE("readers out of range")
    {
        read_options options;
        options.readers = 0;
        refused([&] { (void)w.manager.read(keys("a"), options); }, "0 readers; expected 1 to 128");
        options.readers = 129;
        refused([&] { (void)w.manager.read(keys("a"), options); }, "129 readers; expected 1 to 128");
    }
    SUBCASE("an adapter that may store nothing at a time")
    {
        adapter_options bad;
        bad.stores_in_flight = 0;
        refused([&] { w.manager.add_adapter(std::make_unique<scripted_adapter>(w.adapters[0]), bad); },
                "stores_in_flight is 0; expected at least 1");
    }
    check_nothing_left(w);
    CHECK(w.l1().used_bytes == 0);
    CHECK(w.l2.lookup_calls == 0);
    w.close();
}

TEST_CASE("a ticket may be dropped on any thread, and its locks are given back on the engine's executor")
{
    world w;
    w.put("a");
    w.write("b");
    auto ticket = w.run(w.manager.lookup(w.request("a b")));
    CHECK(ticket.hits() == 2);
    std::thread{[t = std::move(ticket)]() mutable { t = {}; }}.join();
    CHECK(w.l2.total_locks() == 1); // the executor has not run
    w.settle();
    CHECK(w.l2.total_locks() == 0);
    CHECK(w.l1().locks == 0);
    w.close();
}

TEST_CASE("a completion handler that the caller keeps is copied, and can be passed again")
{
    world w;
    auto calls = std::make_shared<int>(0);
    auto handler = [calls](const std::exception_ptr&) { ++*calls; };
    w.manager.async_flush(handler);
    w.manager.async_flush(handler);
    w.settle();
    CHECK(*calls == 2);
}

TEST_CASE("awaited on another executor, a request runs on the engine's all the same")
{
    world w;
    w.put("a");
    asio::io_context other{1};
    std::size_t hits = 0;
    auto crossing = [&]() -> asio::awaitable<void> {
        auto result = co_await w.prefetch("a");
        hits = result.prefix_hits;
    };
    asio::co_spawn(other, crossing(), [](std::exception_ptr error) { CHECK_FALSE(error); });
    other.poll();
    CHECK(w.l2.lookup_calls == 0); // the engine's executor has not run
    w.settle();
    CHECK(w.l2.load_calls == 1);
    CHECK(hits == 0); // nor has the caller's since
    other.restart();
    other.poll();
    CHECK(hits == 1);
    w.settle();
    w.close();
}

TEST_CASE("tickets, leases and handles may be dropped on any thread while the engine runs")
{
    world w{{.l1_objects = 64}};
    w.put("a b c d");
    w.write("r");
    auto guard = asio::make_work_guard(w.io);
    std::thread engine{[&] {
        w.io.restart();
        w.io.run();
    }};
    std::size_t hits = 0;
    for (int i = 0; i < 200; ++i) {
        auto ticket = w.manager.async_lookup(w.request("r a b"), asio::use_future);
        auto result = w.manager.async_prefetch(w.request("r c d"), asio::use_future);
        auto handle = w.manager.submit_prefetch(w.request("a d"));
        hits += ticket.get().hits();
        hits += result.get().prefix_hits;
    }
    guard.reset();
    engine.join();
    w.settle();
    CHECK(hits == 200 * 6);
    CHECK(w.l1().locks == 0);
    w.close();
}
