#include "support/world.hpp"

#include <boost/asio/detached.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/system/system_error.hpp>
#include <thread>

#include <terrace/memory_adapter.hpp>

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

namespace {

template <class T>
bool threw(started<T>& call, errc why)
{
    try {
        (void)call.take();
    } catch (const boost::system::system_error& e) {
        return e.code() == why;
    }
    return false;
}

} // namespace

TEST_CASE("close: an idle engine closes at once, and its adapters with it")
{
    world w{{.adapters = 2}};
    w.write("a");
    w.close();
    CHECK(w.adapters[0]->closed);
    CHECK(w.adapters[1]->closed);
    w.run(w.manager.close()); // again: nothing to do
}

TEST_CASE("close: in each phase of a prefetch it lets started I/O finish, and then nothing is left")
{
    world w{{.l1_objects = 2}};
    w.put("a b");
    gate* held = nullptr;
    SUBCASE("lookup")
    {
        held = &w.l2.lookups;
    }
    SUBCASE("reserve")
    {
        held = &w.l2.stores;
        w.l2.stores.shut();
        w.write("x y");
    }
    SUBCASE("load")
    {
        held = &w.l2.loads;
    }
    SUBCASE("unlock")
    {
        held = &w.l2.unlocks;
    }
    held->shut();
    auto hits = w.start(w.prefetch("a b"));
    auto closing = w.start(w.manager.close());
    const bool had_its_answer = held == &w.l2.unlocks;
    REQUIRE(hits.done()); // the request is answered at once
    if (had_its_answer)
        CHECK(hits.take().prefix_hits == 2);
    else
        CHECK(threw(hits, errc::closed));
    CHECK_FALSE(closing.done()); // the I/O is not
    CHECK_FALSE(w.l2.closed);
    held->open();
    w.settle();
    CHECK(closing.take());
    CHECK(w.l2.closed);
    check_nothing_left(w);
}

TEST_CASE("close: lets started stores finish, starts none, and counts what it drops")
{
    adapter_options one_at_a_time = without_retries();
    one_at_a_time.stores_in_flight = 1;
    world w{{.adapter = one_at_a_time}};
    w.l2.stores.shut();
    w.write("a");
    w.write("b c");
    auto closing = w.start(w.manager.close());
    CHECK_FALSE(closing.done());
    w.l2.stores.open();
    w.settle();
    CHECK(closing.take());
    CHECK(words(w.l2.stored) == "a");
    CHECK(w.manager.status().store.dropped_objects == 2);
    check_nothing_left(w);
}

TEST_CASE("close: whoever waits is answered")
{
    world w{{.l1_objects = 1}};
    w.l2.stores.shut();
    w.write("a");
    auto room = w.start(w.manager.reserve_write_when_free(keys("b"), w.layout, w.time->now() + 1h));
    auto flush = w.start(w.manager.flush());
    auto handle = w.manager.submit_prefetch(w.request("c"));
    w.settle();
    auto closing = w.start(w.manager.close());
    CHECK(threw(room, errc::closed));
    CHECK(threw(flush, errc::closed));
    w.l2.stores.open();
    w.settle();
    CHECK(closing.take());
    check_nothing_left(w);
}

TEST_CASE("close: afterwards everything is refused, and nothing changes")
{
    world w;
    w.put("a");
    auto staged = w.manager.reserve_write(keys("s"), w.layout);
    auto held = w.run(w.prefetch("a"));
    w.run(w.manager.close());
    auto prefetch = w.start(w.prefetch("a"));
    CHECK(threw(prefetch, errc::closed));
    auto lookup = w.start(w.manager.lookup(w.request("a")));
    CHECK(threw(lookup, errc::closed));
    auto flush = w.start(w.manager.flush());
    CHECK(threw(flush, errc::closed));
    CHECK_THROWS_AS((void)w.manager.submit_prefetch(w.request("a")), boost::system::system_error);
    CHECK_THROWS_AS(w.manager.add_adapter(std::make_unique<scripted_adapter>(w.adapters[0])),
                    boost::system::system_error);
    CHECK(w.manager.reserve_write(keys("b"), w.layout).ok(0) == l1_error::closed);
    CHECK(w.manager.reserve_write(keys("a"), w.layout).ok(0) == l1_error::closed); // whether it is resident or not
    CHECK(w.manager.reserve_write(keys("b"), w.layout, write_mode::update).ok(0) == l1_error::closed);
    CHECK(w.manager.read(keys("a")).empty());
    staged.commit();
    CHECK(w.manager.status().l1.staged_objects == 0);
    CHECK(intact(held.lease)); // a lease in a caller's hands stays valid
    CHECK(w.l1().locks == 1);
    held.lease = {};
    check_nothing_left(w);
}

TEST_CASE("close: a ticket that outlives it gives its locks back all the same")
{
    world w;
    w.put("a");
    auto ticket = w.run(w.manager.lookup(w.request("a")));
    w.run(w.manager.close());
    CHECK(w.manager.status().prefetch.l2_locks == 1);
    auto load = w.start(ticket.load());
    CHECK(threw(load, errc::closed));
    ticket = {};
    w.settle();
    CHECK(w.manager.status().prefetch.l2_locks == 0);
}

TEST_CASE("close: an adapter that never ends is given up on, and keeps its buffers")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto hits = w.start(w.prefetch("a"));
    auto closing = w.start(w.manager.close());
    w.pass(config{}.close_timeout);
    CHECK_FALSE(closing.done());
    w.pass(config{}.close_timeout);
    CHECK(threw(closing, errc::close_timed_out));
    CHECK_FALSE(w.l2.closed); // it is told nothing that is not true
    CHECK(w.l1().staged_objects == 1);
    w.l2.loads.open();
    w.settle();
    CHECK(w.l1().staged_objects == 0);
}

TEST_CASE("close: an adapter that was being removed is closed once it does not work with our memory any more")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto hits = w.start(w.prefetch("a"));
    auto removed = w.start(w.manager.remove_adapter(w.ids[0]));
    w.pass(config{}.close_timeout);
    CHECK(threw(removed, errc::close_timed_out));
    auto closing = w.start(w.manager.close());
    w.pass(config{}.close_timeout);
    w.pass(config{}.close_timeout);
    CHECK(threw(closing, errc::close_timed_out));
    CHECK_FALSE(w.l2.closed);
    w.l2.loads.open();
    w.settle();
    CHECK(w.l2.close_calls == 1);
}

TEST_CASE("close: who gives up waiting for it does not stop it")
{
    world w;
    w.l2.stores.shut();
    w.write("a");
    auto first = w.start(w.manager.close());
    first.cancel();
    w.settle();
    CHECK(first.was_aborted());
    auto second = w.start(w.manager.close());
    CHECK_FALSE(second.done());
    w.l2.stores.open();
    w.settle();
    CHECK(second.take());
    check_nothing_left(w);
}

TEST_CASE("a manager destroyed without close() stops what runs, and its I/O keeps its memory until it ends")
{
    asio::io_context io{1};
    auto script = std::make_shared<scripted_adapter::script>();
    script->objects[key("a").to_string()] = payload(key("a"));
    script->loads.shut();
    prefetch_handle handle;
    {
        config cfg;
        cfg.l1.capacity_bytes = 4 * object_bytes;
        cfg.clock = std::make_shared<manual_clock>();
        storage_manager manager{io.get_executor(), cfg};
        manager.add_adapter(std::make_unique<scripted_adapter>(script));
        handle = manager.submit_prefetch({keys("a"), memory_layout::bytes(object_bytes)});
        io.poll();
        CHECK(script->in_flight == 1);
    }
    io.restart();
    io.poll();
    CHECK_FALSE(script->destroyed);
    CHECK_THROWS_AS((void)handle.poll(), boost::system::system_error);
    script->loads.open(); // it writes into L1 now: the address sanitizer would see if that were gone
    io.restart();
    io.poll();
    CHECK(script->in_flight == 0);
    CHECK(script->total_locks() == 0);
    handle = {};
    CHECK(script->destroyed);
}

TEST_CASE("a pinned object does not keep an engine that was not closed, on an executor that does not run any more")
{
    asio::io_context io;
    config cfg;
    cfg.l1.capacity_bytes = 1 << 20;
    storage_manager manager{io.get_executor(), cfg};
    auto room = manager.reserve_write(keys("a"), memory_layout::bytes(object_bytes));
    room.commit();
    CHECK(manager.pin(keys("a"), std::chrono::steady_clock::now() + 1h).all());
    // L1 asserts when it goes that nothing is locked.
}

TEST_CASE("an io_context that ends under a running engine takes it along")
{
    auto script = std::make_shared<scripted_adapter::script>();
    script->objects[key("a").to_string()] = payload(key("a"));
    prefetch_handle handle;
    {
        asio::io_context io{1};
        config cfg;
        cfg.l1.capacity_bytes = 4 * object_bytes;
        storage_manager manager{io.get_executor(), cfg};
        manager.add_adapter(std::make_unique<scripted_adapter>(script));
        script->lookups.shut();
        handle = manager.submit_prefetch({keys("a"), memory_layout::bytes(object_bytes)});
        io.poll();
        CHECK(script->in_flight == 1);
        script->lookups = {}; // the device forgets the call: its coroutine ends with the gate
        handle = {};
    }
    CHECK(script->in_flight == 0);
}

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
        CHECK(threw(again, errc::unknown_adapter));
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

TEST_CASE("close: what is committed while it waits is dropped and counted")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto staged = w.manager.reserve_write(keys("s t"), w.layout);
    auto hits = w.start(w.prefetch("a"));
    auto closing = w.start(w.manager.close());
    CHECK_FALSE(closing.done());
    staged.commit();
    SUBCASE("seen while it waits")
    {
        w.settle();
    }
    SUBCASE("seen only afterwards") {}
    w.l2.loads.open();
    w.settle();
    CHECK(closing.take());
    CHECK(w.l2.store_calls == 0);
    CHECK(w.manager.status().store.dropped_objects == 2);
    check_nothing_left(w);
}

TEST_CASE("close: what hangs is asked to stop, and has then as long again")
{
    world w{{.adapters = 0}};
    memory_options slow; // it honours cancellation
    slow.latency = 10h;
    slow.clock = w.time;
    adapter_options timeouts = without_retries();
    timeouts.store_timeout = 20h;
    w.manager.add_adapter(std::make_unique<memory_adapter>(slow), timeouts);
    w.write("a");
    auto closing = w.start(w.manager.close());
    w.pass(config{}.close_timeout - 1ms);
    CHECK_FALSE(closing.done());
    w.pass(1ms);
    CHECK(closing.take());
    CHECK(w.manager.status().store.failed_objects == 1);
    check_nothing_left(w);
}

TEST_CASE("close: an adapter that fails to close is reported, and the others are closed all the same")
{
    world w{{.adapters = 2}};
    w.adapters[0]->close_throws = true;
    auto closing = w.start(w.manager.close());
    CHECK_THROWS_WITH_AS((void)closing.take(), "scripted: close", std::runtime_error);
    CHECK(w.adapters[1]->closed);
    check_nothing_left(w);
}

TEST_CASE("close: however often it is called, each adapter is closed once")
{
    world w;
    w.l2.closing.shut();
    auto first = w.start(w.manager.close());
    auto second = w.start(w.manager.close());
    CHECK_FALSE(first.done());
    CHECK_FALSE(second.done());
    w.l2.closing.open();
    w.settle();
    CHECK(first.take());
    CHECK(second.take());
    w.run(w.manager.close());
    auto removed = w.start(w.manager.remove_adapter(w.ids[0]));
    CHECK(threw(removed, errc::closed));
    CHECK(w.l2.close_calls == 1);
}

TEST_CASE("close: afterwards no L1 hit is locked and no commit is seen")
{
    world w;
    w.write("a");
    auto staged = w.manager.reserve_write(keys("b"), w.layout);
    auto ticket = w.run(w.manager.lookup(w.request("a")));
    CHECK(ticket.hits() == 1);
    w.run(w.manager.close());
    staged.commit();
    CHECK(w.l1().resident_objects == 1);
    auto load = w.start(ticket.load());
    CHECK(threw(load, errc::closed));
    w.settle();
    check_nothing_left(w);
}

TEST_CASE("a manager destroyed without close() answers who waits, starts nothing more, and asks what runs to stop")
{
    asio::io_context io{1};
    auto time = std::make_shared<manual_clock>();
    auto script = std::make_shared<scripted_adapter::script>();
    std::exception_ptr prefetch_error;
    std::weak_ptr<manual_clock> alive = time;
    {
        config cfg;
        cfg.l1.capacity_bytes = 4 * object_bytes;
        cfg.clock = time;
        storage_manager manager{io.get_executor(), cfg};
        SUBCASE("a request")
        {
            script->lookups.shut();
            manager.add_adapter(std::make_unique<scripted_adapter>(script));
            manager.async_prefetch({keys("a"), memory_layout::bytes(object_bytes)},
                                   [&](std::exception_ptr error, prefetch_result) { prefetch_error = error; });
            io.poll();
            CHECK(script->in_flight == 1);
        }
        SUBCASE("a queued store")
        {
            adapter_options one_at_a_time = without_retries();
            one_at_a_time.stores_in_flight = 1;
            script->stores.shut();
            manager.add_adapter(std::make_unique<scripted_adapter>(script), one_at_a_time);
            for (const char* word : {"p", "q"})
                manager.reserve_write(keys(word), memory_layout::bytes(object_bytes)).commit();
            io.poll();
            CHECK(script->store_calls == 1);
        }
        SUBCASE("a store that can be stopped")
        {
            memory_options slow;
            slow.latency = 10s;
            slow.clock = time;
            manager.add_adapter(std::make_unique<memory_adapter>(slow));
            manager.reserve_write(keys("p"), memory_layout::bytes(object_bytes)).commit();
            io.poll();
        }
        time.reset();
    }
    io.restart();
    io.poll();
    if (script->in_flight != 0 && script->store_calls == 0)
        CHECK(prefetch_error); // answered, although the adapter is not done
    script->lookups.open();
    script->stores.open();
    io.restart();
    io.poll();
    CHECK(script->store_calls <= 1);
    CHECK(script->in_flight == 0);
    CHECK(alive.expired()); // the engine has gone, and with it all that it held
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

TEST_CASE("close: who waited has the answer before close() returns")
{
    world w{{.l1_objects = 1, .adapters = 0}};
    auto staged = w.manager.reserve_write(keys("s"), w.layout);
    std::string order;
    w.manager.async_reserve_write_when_free(
        keys("a"), w.layout, w.time->now() + 1h, write_mode::new_only,
        [&](std::exception_ptr error, write_lease) { order += error ? "refused " : "reserved "; });
    w.settle();
    CHECK(order.empty());
    w.manager.async_close([&](std::exception_ptr error) { order += error ? "failed" : "closed"; });
    w.settle();
    CHECK(order == "refused closed");
    staged = {};
    check_nothing_left(w);
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

TEST_CASE("close: nothing is asked of an adapter after its close()")
{
    world w{{.l1_objects = 2, .adapters = 2}};
    w.put("a b");
    SUBCASE("by a request that held its locks and waited for room")
    {
        w.adapters[1]->stores.shut();
        w.write("x y");
        auto hits = w.start(w.prefetch("a b"));
        auto removed = w.start(w.manager.remove_adapter(w.ids[0]));
        CHECK(removed.take());
        REQUIRE(w.l2.closed);
        w.adapters[1]->stores.open();
        w.settle();
        CHECK(hits.take().prefix_hits == 0);
    }
    SUBCASE("by a ticket that is loaded")
    {
        auto ticket = w.run(w.manager.lookup(w.request("a")));
        w.run(w.manager.remove_adapter(w.ids[0]));
        CHECK(w.run(ticket.load()).prefix_hits == 0);
    }
    SUBCASE("by a ticket that is dropped")
    {
        auto ticket = w.run(w.manager.lookup(w.request("a")));
        w.run(w.manager.remove_adapter(w.ids[0]));
    }
    w.settle();
    CHECK(w.l2.load_calls == 0);
    CHECK(w.l2.unlock_calls == 0);
    CHECK(w.manager.status().prefetch.l2_locks == 0);
}

TEST_CASE("close: an adapter whose close() hangs is waited for no longer than the close timeout")
{
    world w{{.adapters = 2}};
    w.l2.closing.shut();
    auto closing = w.start(w.manager.close());
    w.pass(config{}.close_timeout - 1ms);
    CHECK_FALSE(closing.done());
    w.pass(1ms);
    CHECK(threw(closing, errc::close_timed_out));
    CHECK(w.adapters[1]->closed);
    w.l2.closing.open();
    w.settle();
    CHECK(w.l2.closed);
}
