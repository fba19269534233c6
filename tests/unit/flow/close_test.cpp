#include "support/world.hpp"

#include <terrace/memory_adapter.hpp>

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

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
        CHECK(hits.failed_with(errc::closed));
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
    CHECK(room.failed_with(errc::closed));
    CHECK(flush.failed_with(errc::closed));
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
    CHECK(prefetch.failed_with(errc::closed));
    auto lookup = w.start(w.manager.lookup(w.request("a")));
    CHECK(lookup.failed_with(errc::closed));
    auto flush = w.start(w.manager.flush());
    CHECK(flush.failed_with(errc::closed));
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
    CHECK(load.failed_with(errc::closed));
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
    CHECK(closing.failed_with(errc::close_timed_out));
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
    CHECK(removed.failed_with(errc::close_timed_out));
    auto closing = w.start(w.manager.close());
    w.pass(config{}.close_timeout);
    w.pass(config{}.close_timeout);
    CHECK(closing.failed_with(errc::close_timed_out));
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
    CHECK(removed.failed_with(errc::closed));
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
    CHECK(load.failed_with(errc::closed));
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
    CHECK(closing.failed_with(errc::close_timed_out));
    CHECK(w.adapters[1]->closed);
    w.l2.closing.open();
    w.settle();
    CHECK(w.l2.closed);
}
