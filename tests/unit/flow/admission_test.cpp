#include "support/world.hpp"

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

namespace {

world_options two_objects_at_a_time()
{
    world_options options;
    options.l1_objects = 16;
    options.limits.bytes_in_flight = 2 * object_bytes;
    return options;
}

} // namespace

TEST_CASE("admission: loads are bounded in bytes, and requests over it wait in order of arrival")
{
    world w{two_objects_at_a_time()};
    w.put("a b c d e f");
    w.l2.loads.shut();
    auto first = w.start(w.prefetch("a b"));
    auto second = w.start(w.prefetch("c d"));
    auto third = w.start(w.prefetch("e"));
    CHECK(words(w.l2.loaded) == "a b");
    CHECK(w.manager.status().prefetch.waiting == 2);
    CHECK(w.l1().staged_objects == 2);
    w.l2.loads.let_one_pass();
    w.settle();
    CHECK(first.done());
    CHECK(words(w.l2.loaded) == "a b c d"); // the third would fit no more
    w.l2.loads.open();
    w.settle();
    CHECK(second.take().prefix_hits == 2);
    CHECK(third.take().prefix_hits == 1);
    (void)first.take();
    w.close();
}

TEST_CASE("admission: bounded in requests too")
{
    world_options options;
    options.limits.requests_in_flight = 1;
    world w{options};
    w.put("a b");
    w.l2.loads.shut();
    auto first = w.start(w.prefetch("a"));
    auto second = w.start(w.prefetch("b"));
    CHECK(w.l2.load_calls == 1);
    w.l2.loads.open();
    w.settle();
    CHECK(second.take().prefix_hits == 1);
    (void)first.take();
    w.close();
}

TEST_CASE("admission: a request of more than the limit is admitted alone")
{
    world w{two_objects_at_a_time()};
    w.put("a b c d");
    CHECK(w.run(w.prefetch("a b c d")).prefix_hits == 4);
    w.close();
}

TEST_CASE("admission: higher priorities go first, and warm requests yield to all that somebody waits for")
{
    world w{two_objects_at_a_time()};
    w.put("a b c d e f");
    w.l2.loads.shut();
    auto running = w.start(w.prefetch("a b"));
    auto warm = w.start(w.manager.prefetch(w.request("c d").set_lock(lock_mode::no).set_priority(100)));
    auto low = w.start(w.manager.prefetch(w.request("e").set_priority(-1)));
    auto high = w.start(w.manager.prefetch(w.request("f").set_priority(1)));
    w.l2.loads.open();
    w.settle();
    CHECK(words(w.l2.loaded) == "a b f e c d");
    CHECK(warm.take().prefix_hits == 2);
    CHECK(low.take().prefix_hits == 1);
    CHECK(high.take().prefix_hits == 1);
    (void)running.take();
    CHECK(w.resident("c d"));
    w.close();
}

TEST_CASE("admission: who waits in line")
{
    world w{two_objects_at_a_time()};
    w.put("a b c d e");
    w.l2.loads.shut();
    auto running = w.start(w.prefetch("a b"));
    SUBCASE("is answered at its deadline")
    {
        auto hits = w.start(w.manager.prefetch(w.request("c").set_deadline(w.time->now() + 1ms)));
        w.pass(1ms);
        CHECK(hits.take().timed_out);
        CHECK(w.l2.total_locks() == 2); // those of the load that runs
    }
    SUBCASE("leaves it when it is cancelled, and the next gets the turn")
    {
        auto cancelled = w.start(w.prefetch("c d"));
        auto next = w.start(w.prefetch("e"));
        cancelled.cancel();
        w.settle();
        CHECK(cancelled.was_aborted());
        w.l2.loads.open();
        w.settle();
        CHECK(next.take().prefix_hits == 1);
        CHECK(words(w.l2.loaded) == "a b e");
    }
    SUBCASE("is answered when the engine closes")
    {
        auto waiting = w.start(w.prefetch("c"));
        auto closing = w.start(w.manager.close());
        REQUIRE(waiting.done());
        CHECK_THROWS(waiting.take());
        CHECK_THROWS(running.take());
        return;
    }
    SUBCASE("joins a load that has begun meanwhile")
    {
        auto same = w.start(w.prefetch("c"));
        auto other = w.start(w.manager.prefetch(w.request("c").set_priority(1)));
        w.l2.loads.open();
        w.settle();
        CHECK(same.take().prefix_hits == 1);
        CHECK(other.take().prefix_hits == 1);
        CHECK(words(w.l2.loaded) == "a b c");
    }
    w.l2.loads.open();
    w.settle();
    (void)running.take();
    w.close();
}

TEST_CASE("admission: a full line answers at once with what L1 has, and counts it")
{
    auto options = two_objects_at_a_time();
    options.limits.requests_waiting = 0;
    world w{options};
    w.put("a b c");
    w.write("x");
    w.l2.loads.shut();
    auto running = w.start(w.prefetch("a b"));
    CHECK(w.run(w.prefetch("x c")).prefix_hits == 1);
    CHECK(w.manager.status().prefetch.refused == 1);
    w.l2.loads.open();
    w.settle();
    (void)running.take();
    w.close();
}

TEST_CASE("admission: a load that does not end keeps its place no longer than its timeout")
{
    world_options options;
    options.limits.requests_in_flight = 1;
    options.adapter.load_timeout = 1s;
    world w{options};
    w.put("a b");
    w.l2.loads.shut();
    auto first = w.start(w.prefetch("a"));
    auto second = w.start(w.prefetch("b"));
    CHECK(w.l2.load_calls == 1);
    w.pass(1s);
    CHECK(first.take().prefix_hits == 0);
    CHECK(w.l2.load_calls == 2);
    w.l2.loads.open();
    w.settle();
    CHECK(second.take().prefix_hits == 1);
    w.close();
}
