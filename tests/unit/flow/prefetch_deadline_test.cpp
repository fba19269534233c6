// Deadlines of requests, timeouts of adapters, and what comes after either.

#include "support/world.hpp"

#include <terrace/memory_adapter.hpp>

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

TEST_CASE("prefetch: at its deadline the caller gets what is usable by then")
{
    auto policy = late_load_policy::admit;
    bool admitted = true;
    SUBCASE("what arrives late is admitted unlocked") {}
    SUBCASE("or discarded, where the configuration says so")
    {
        policy = late_load_policy::discard;
        admitted = false;
    }
    world w{{.adapters = 2, .late_loads = policy}};
    w.put(*w.adapters[0], "a");
    w.put(*w.adapters[1], "b");
    w.adapters[1]->loads.shut();
    auto hits = w.start(w.manager.prefetch(w.request("a b").set_deadline(w.time->now() + 10ms)));
    CHECK_FALSE(hits.done());
    w.pass(10ms);
    auto result = hits.take();
    CHECK(result.timed_out);
    CHECK(result.prefix_hits == 1);
    CHECK(result.latency == 10ms);
    CHECK(intact(result.lease));
    CHECK(w.l1().staged_objects == 1); // the late load owns it
    w.adapters[1]->loads.open();
    w.settle();
    CHECK(w.l1().staged_objects == 0);
    CHECK(w.resident("b") == admitted);
    CHECK(w.l1().locks == 1);
    result.lease = {};
    w.close();
}

TEST_CASE("prefetch: a deadline that passes in the lookup leaves the hits in L1")
{
    world w;
    w.write("a");
    w.l2.lookups.shut();
    auto hits = w.start(w.manager.prefetch(w.request("a b").set_deadline(w.time->now() + 10ms)));
    w.pass(10ms);
    CHECK(hits.take().prefix_hits == 1);
    w.l2.lookups.open();
    w.settle();
    CHECK(w.l2.total_locks() == 0);
    w.close();
}

TEST_CASE("prefetch: an adapter that hangs in a load is left behind at its load timeout, and keeps its buffers")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto hits = w.start(w.prefetch("a"));
    w.pass(adapter_options{}.load_timeout);
    CHECK(hits.take().prefix_hits == 0);
    CHECK(w.l1().staged_objects == 1);
    CHECK(w.l1().used_bytes == object_bytes);
    w.l2.loads.open();
    w.settle();
    CHECK(w.l1().staged_objects == 0);
    w.close();
}

TEST_CASE("prefetch: what arrives after the deadline is worth no less than what was in time")
{
    world w{{.l1_objects = 3}};
    w.put("a b c");
    w.l2.loads.shut();
    auto hits = w.start(w.manager.prefetch(w.request("a b c").set_deadline(w.time->now() + 10ms)));
    w.pass(10ms);
    CHECK(hits.take().prefix_hits == 0);
    SUBCASE("it stays after its first reader, although the policy would have made it temporary")
    {
        w.l2.loads.open();
        w.settle();
        CHECK(w.resident("a b c"));
        CHECK(w.resident("a b c"));
    }
    SUBCASE("the tail of a chain is evicted before its head")
    {
        w.l2.loads.open();
        w.settle();
        auto lease = w.manager.reserve_write(keys("x"), w.layout);
        CHECK(w.resident("a b"));
        CHECK_FALSE(w.resident("c"));
    }
    SUBCASE("what failed to load is discarded unseen")
    {
        w.l2.broken = {key("b").to_string()};
        w.l2.loads.open();
        w.settle();
        CHECK(w.resident("a"));
        CHECK(w.manager.read(keys("b")).empty());
        CHECK(w.resident("c"));
        CHECK(w.l1().used_bytes == 2 * object_bytes);
    }
    SUBCASE("it gives way to what was written meanwhile")
    {
        w.manager.clear(clear_mode::force);
        world other{{.l1_objects = 2}};
        other.put("a");
        other.l2.loads.shut();
        auto late = other.start(other.manager.prefetch(other.request("a").set_deadline(other.time->now() + 10ms)));
        other.pass(10ms);
        other.write("a");
        const auto written = other.manager.read(keys("a")).bytes(0).data();
        other.l2.loads.open();
        other.settle();
        CHECK(other.l1().resident_objects == 1);
        CHECK(other.l1().used_bytes == object_bytes);
        CHECK(other.manager.read(keys("a")).bytes(0).data() == written);
        other.close();
        w.l2.loads.open();
        w.settle();
    }
    SUBCASE("nothing of it is stored again")
    {
        w.l2.loads.open();
        w.settle();
        CHECK(w.l2.store_calls == 0);
    }
    w.close();
}

TEST_CASE("prefetch: a late load makes room for whoever waits for it")
{
    world w{{.l1_objects = 1}};
    w.put("a");
    w.l2.loads.shut();
    auto hits = w.start(w.manager.prefetch(w.request("a").set_deadline(w.time->now() + 10ms)));
    w.pass(10ms);
    CHECK(hits.take().prefix_hits == 0);
    auto waiting = w.start(w.manager.reserve_write_when_free(keys("x"), w.layout, w.time->now() + 1s));
    CHECK_FALSE(waiting.done());
    SUBCASE("by being evictable") {}
    SUBCASE("by having failed")
    {
        w.l2.broken = {key("a").to_string()};
    }
    w.l2.loads.open();
    w.settle();
    CHECK(waiting.take().leading() == 1);
    w.close();
}

TEST_CASE("prefetch: an answer that comes after the adapter's timeout settles nothing for the request")
{
    adapter_options hasty;
    hasty.load_timeout = 10ms;
    world w{{.adapter = hasty}};
    auto patient = std::make_shared<scripted_adapter::script>();
    w.manager.add_adapter(std::make_unique<scripted_adapter>(patient));
    w.put("b");
    w.put(*patient, "a");
    w.l2.loads.shut();
    patient->loads.shut();
    auto hits = w.start(w.prefetch("a b"));
    w.pass(10ms);
    w.l2.loads.open(); // too late
    w.settle();
    CHECK_FALSE(hits.done()); // the other adapter still loads
    patient->loads.open();
    w.settle();
    auto result = hits.take();
    CHECK(result.prefix_hits >= 1);
    CHECK(words(result.lease).starts_with("a"));
    CHECK(intact(result.lease));
    CHECK(patient->total_locks() == 0);
    result.lease = {};
    w.close();
}

TEST_CASE("prefetch: calls that nobody waits for are asked to stop, and give everything back when they do")
{
    world w{{.adapters = 0}};
    memory_options slow; // it honours cancellation
    slow.latency = 30s;
    slow.clock = w.time;
    adapter_options timeouts;
    timeouts.lookup_timeout = 60s;
    timeouts.load_timeout = 10s;
    w.manager.add_adapter(std::make_unique<memory_adapter>(slow), timeouts);
    w.write("a");
    w.pass(30s);
    REQUIRE(w.manager.clear(clear_mode::unlocked) == 1);
    auto hits = w.start(w.prefetch("a"));
    SUBCASE("cancelled in the lookup")
    {
        hits.cancel();
        w.settle();
        CHECK(hits.was_aborted());
    }
    SUBCASE("cancelled in the load")
    {
        w.pass(30s);
        REQUIRE(w.l1().staged_objects == 1);
        hits.cancel();
        w.settle();
        CHECK(hits.was_aborted());
    }
    SUBCASE("past the load timeout")
    {
        w.pass(30s);
        REQUIRE(w.l1().staged_objects == 1);
        w.pass(10s);
        CHECK(hits.take().prefix_hits == 0);
        CHECK(w.manager.status().adapters[0].timeouts == 1);
    }
    CHECK(w.l1().staged_objects == 0);
    CHECK(w.manager.status().prefetch.in_flight == 0);
    CHECK(w.manager.status().prefetch.l2_locks == 0);
    CHECK(w.manager.status().adapters[0].self.locked_objects == 0);
    w.close();
}

TEST_CASE("prefetch: a load goes on after the request's deadline, for others")
{
    world w{{.adapters = 0}};
    memory_options slow;
    slow.latency = 30s;
    slow.clock = w.time;
    adapter_options timeouts;
    timeouts.lookup_timeout = 60s;
    timeouts.load_timeout = 60s;
    w.manager.add_adapter(std::make_unique<memory_adapter>(slow), timeouts);
    w.write("a");
    w.pass(30s);
    REQUIRE(w.manager.clear(clear_mode::unlocked) == 1);
    auto hits = w.start(w.manager.prefetch(w.request("a").set_deadline(w.time->now() + 40s)));
    w.pass(30s); // the lookup
    w.pass(10s);
    CHECK(hits.take().timed_out);
    CHECK(w.l1().staged_objects == 1);
    w.pass(20s); // the rest of the load
    CHECK(w.l1().staged_objects == 0);
    CHECK(w.resident("a"));
    w.close();
}

TEST_CASE("prefetch: at its deadline it is answered, wherever it is")
{
    world w{{.l1_objects = 2, .adapters = 2}};
    const auto soon = w.time->now() + 10ms;
    const auto start = [&](std::string_view objects) {
        return w.start(w.manager.prefetch(w.request(objects).set_deadline(soon)));
    };
    SUBCASE("in the lookup, and says so")
    {
        w.l2.lookups.shut();
        auto hits = start("a");
        w.pass(10ms);
        CHECK(hits.take().timed_out);
        CHECK(w.manager.status().prefetch.timed_out == 1);
    }
    SUBCASE("in the lookup of one adapter, although another has what it could load")
    {
        w.put(*w.adapters[1], "a");
        w.adapters[1]->loads.shut();
        w.l2.lookups.shut();
        auto hits = start("a");
        w.pass(10ms);
        REQUIRE(hits.done());
        CHECK(hits.take().timed_out);
    }
    SUBCASE("while it waits for room")
    {
        w.put("a b");
        w.l2.stores.shut();
        w.write("x y");
        auto hits = start("a b");
        w.pass(10ms - 1ns);
        CHECK_FALSE(hits.done());
        w.pass(1ns);
        REQUIRE(hits.done());
        CHECK(hits.take().prefix_hits == 0);
    }
    w.l2.lookups.open();
    w.l2.stores.open();
    for (auto& adapter : w.adapters)
        adapter->loads.open();
    w.settle();
    w.close();
}

TEST_CASE("prefetch: a ticket that is loaded after its deadline starts nothing")
{
    world w;
    w.write("a");
    w.put("a b");
    auto ticket = w.run(w.manager.lookup(w.request("a b").set_deadline(w.time->now() + 10ms)));
    w.pass(20ms);
    auto hits = w.run(ticket.load());
    CHECK(hits.timed_out);
    CHECK(hits.prefix_hits == 1);
    CHECK(w.l2.load_calls == 0);
    CHECK(w.l2.total_locks() == 0);
    hits.lease = {};
    w.close();
}

TEST_CASE("prefetch: the signal of a waiter who has his answer does not stop the next one")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto handle = w.manager.submit_prefetch(w.request("a"));
    asio::cancellation_signal signal;
    bool first_answered = false;
    std::size_t second_hits = 0;
    handle.async_wait(asio::bind_cancellation_slot(
        signal.slot(), [&](std::exception_ptr, prefetch_result) { first_answered = true; }));
    signal.emit(asio::cancellation_type::terminal);
    w.settle();
    CHECK(first_answered);
    handle.async_wait([&](std::exception_ptr, prefetch_result result) { second_hits = result.prefix_hits; });
    signal.emit(asio::cancellation_type::terminal);
    w.settle();
    w.l2.loads.open();
    w.settle();
    CHECK(second_hits == 1);
    w.close();
}
