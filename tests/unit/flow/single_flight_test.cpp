#include "support/world.hpp"

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

TEST_CASE("single flight: two requests that want the same key share one load")
{
    world w;
    w.put("a b c");
    w.l2.loads.shut();
    auto first = w.start(w.prefetch("a b"));
    auto second = w.start(w.prefetch("a b c"));
    CHECK(w.l2.load_calls == 2);
    CHECK(words(w.l2.loaded) == "a b c"); // the second loads only what is not on its way
    CHECK(words(w.l2.looked_up) == "a b c");
    CHECK(w.l1().staged_objects == 3);
    SUBCASE("both get it, in one copy, each with locks of its own")
    {
        w.l2.loads.open();
        w.settle();
        auto a = first.take();
        auto b = second.take();
        CHECK(a.prefix_hits == 2);
        CHECK(b.prefix_hits == 3);
        CHECK(a.lease.bytes(0).data() == b.lease.bytes(0).data());
        CHECK(w.l1().locks == 5);
        CHECK(w.manager.status().prefetch.joined_keys == 2);
        a.lease = {};
        CHECK(intact(b.lease));
    }
    SUBCASE("the one that began it is cancelled: the other is none the worse")
    {
        first.cancel();
        w.settle();
        CHECK(first.was_aborted());
        w.l2.loads.open();
        w.settle();
        auto b = second.take();
        CHECK(b.prefix_hits == 3);
        CHECK(intact(b.lease));
        CHECK(w.l1().locks == 3);
    }
    SUBCASE("the one that joined is cancelled: the other is none the worse")
    {
        second.cancel();
        w.settle();
        CHECK(second.was_aborted());
        w.l2.loads.open();
        w.settle();
        CHECK(first.take().prefix_hits == 2);
    }
    SUBCASE("both are cancelled: the load keeps its buffers until it ends")
    {
        first.cancel();
        second.cancel();
        w.settle();
        CHECK(w.l1().staged_objects == 3);
        w.l2.loads.open();
        w.settle();
        CHECK(w.l1().staged_objects == 0);
    }
    SUBCASE("it fails: both are trimmed")
    {
        w.l2.broken = {key("b").to_string()};
        w.l2.loads.open();
        w.settle();
        CHECK(first.take().prefix_hits == 1);
        CHECK(second.take().prefix_hits == 1);
        CHECK(w.l1().locks == 0);
    }
    w.close();
}

TEST_CASE("single flight: the deadline of one waiter leaves the others whole")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto patient = w.start(w.prefetch("a"));
    auto hasty = w.start(w.manager.prefetch(w.request("a").set_deadline(w.time->now() + 1ms)));
    w.pass(1ms);
    auto result = hasty.take();
    CHECK(result.timed_out);
    CHECK(result.prefix_hits == 0);
    CHECK_FALSE(patient.done());
    w.l2.loads.open();
    w.settle();
    CHECK(patient.take().prefix_hits == 1);
    w.close();
}

TEST_CASE("single flight: each waiter has its own number of readers")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto three = w.start(w.manager.prefetch(w.request("a").set_readers(3)));
    auto two = w.start(w.manager.prefetch(w.request("a").set_readers(2)));
    w.l2.loads.open();
    w.settle();
    CHECK(w.l1().locks == 5);
    auto a = three.take();
    CHECK(a.lease.readers() == 3);
    CHECK(two.take().lease.readers() == 2);
    CHECK(w.l1().locks == 3);
    a.lease = {};
    w.close();
}

TEST_CASE("single flight: a warm request that joins a temporary load makes it stay")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto demand = w.start(w.prefetch("a"));
    auto warm = w.start(w.manager.prefetch(w.request("a").set_lock(lock_mode::no)));
    w.l2.loads.open();
    w.settle();
    CHECK(warm.take().prefix_hits == 1);
    CHECK(demand.take().prefix_hits == 1);
    CHECK(w.resident("a"));
    w.close();
}

TEST_CASE("single flight: a load under another layout is not joined")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto as_bytes = w.start(w.prefetch("a"));
    const memory_layout other{{tensor{{object_bytes / 2}, dtype::f16}}};
    auto as_halves = w.start(w.manager.prefetch({keys("a"), other}));
    CHECK(w.l2.load_calls == 2);
    w.l2.loads.open();
    w.settle();
    CHECK(as_bytes.take().prefix_hits == 1);
    (void)as_halves.take();
    w.close();
}

TEST_CASE("single flight: a load that its adapter has not finished in time is joined no more")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto first = w.start(w.prefetch("a"));
    w.pass(adapter_options{}.load_timeout);
    CHECK(first.take().prefix_hits == 0);
    auto second = w.start(w.prefetch("a"));
    CHECK(w.l2.load_calls == 2);
    w.l2.loads.open();
    w.settle();
    auto hits = second.take();
    CHECK(hits.prefix_hits == 1);
    CHECK(intact(hits.lease));
    hits.lease = {};
    w.close();
}

TEST_CASE("single flight: a load that was asked to stop is joined no more")
{
    world w{{.adapters = 2}};
    auto& stopped = *w.adapters[1];
    w.put(stopped, "a b");
    stopped.loads.shut();
    std::string_view wanted = "a b";
    SUBCASE("since its request was cancelled")
    {
        auto first = w.start(w.prefetch("a b"));
        first.cancel();
        w.settle();
        CHECK(first.was_aborted());
    }
    SUBCASE("since it is past the prefix that its request got")
    {
        w.put("x");
        w.l2.broken = {key("x").to_string()};
        CHECK(w.run(w.prefetch("x a")).prefix_hits == 0);
        wanted = "a";
    }
    CHECK(stopped.load_calls == 1);
    auto again = w.start(w.prefetch(wanted));
    CHECK(stopped.load_calls == 2);
    stopped.broken = {key("a").to_string()}; // the first ends without it
    stopped.loads.let_one_pass();
    w.settle();
    CHECK_FALSE(again.done());
    stopped.broken.clear();
    stopped.loads.open();
    w.settle();
    auto hits = again.take();
    CHECK(hits.found.all());
    CHECK(intact(hits.lease));
    hits.lease = {};
    w.close();
}

TEST_CASE("single flight: a ticket pins what is on its way")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto request = w.start(w.prefetch("a"));
    auto ticket = w.run(w.manager.lookup(w.request("a")));
    CHECK(ticket.prefix_hits() == 1);
    w.l2.loads.open();
    w.settle();
    (void)request.take();
    CHECK(w.resident("a")); // temporary, and its only other reader has gone
    SUBCASE("load() finds it there")
    {
        CHECK(w.run(ticket.load()).prefix_hits == 1);
        CHECK(w.l2.load_calls == 1);
    }
    SUBCASE("dropping it lets it go")
    {
        ticket = {};
    }
    w.settle();
    CHECK_FALSE(w.resident("a"));
    w.close();
}
