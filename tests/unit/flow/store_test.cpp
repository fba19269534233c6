#include "support/world.hpp"

#include <terrace/memory_adapter.hpp>

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

TEST_CASE("store: what is committed is stored, and stays in L1")
{
    world w;
    w.write("a b c");
    CHECK(words(w.l2.stored) == "a b c");
    CHECK(w.l2.objects[key("b").to_string()] == payload(key("b")));
    CHECK(w.resident("a b c"));
    CHECK(w.l1().locks == 0);
    CHECK(w.manager.status().store.stored_objects == 3);
    CHECK(w.manager.status().store.stored_bytes == 3 * object_bytes);
    w.close();
}

TEST_CASE("store: what was not committed is not stored")
{
    world w;
    auto lease = w.manager.reserve_write(keys("a b"), w.layout);
    w.settle();
    lease.commit(bitmap::first(1, 2));
    w.settle();
    CHECK(words(w.l2.stored) == "a");
    w.close();
}

TEST_CASE("store: every adapter gets everything, each on a lease of its own")
{
    world w{{.adapters = 2}};
    w.adapters[1]->stores.shut();
    w.write("a b");
    CHECK(words(w.adapters[0]->stored) == "a b");
    CHECK(w.l1().locks > 0);
    SUBCASE("the slow one keeps the objects from being evicted")
    {
        CHECK(w.manager.clear(clear_mode::unlocked) == 0);
    }
    SUBCASE("erased meanwhile, they are stored all the same")
    {
        w.manager.erase(keys("a b"));
        CHECK_FALSE(w.resident("a"));
    }
    w.adapters[1]->stores.open();
    w.settle();
    CHECK(words(w.adapters[1]->stored) == "a b");
    CHECK(w.adapters[1]->objects[key("a").to_string()] == payload(key("a")));
    CHECK(w.l1().locks == 0);
    w.close();
}

TEST_CASE("store: a loaded object is never stored again")
{
    for (const char* policy : {"default", "retain"}) {
        CAPTURE(policy);
        world w{{.prefetch_policy = policy}};
        w.put("a b");
        auto hits = w.run(w.prefetch("a b"));
        w.settle();
        hits.lease = {};
        w.settle();
        CHECK(w.l2.store_calls == 0);
        w.close();
    }
}

TEST_CASE("store: an object is not evicted before it is stored")
{
    world w{{.l1_objects = 2}};
    w.l2.stores.shut();
    w.write("a b");
    auto refused = w.manager.reserve_write(keys("c"), w.layout);
    CHECK(refused.ok(0) == l1_error::out_of_memory);
    w.l2.stores.open();
    w.settle();
    CHECK(w.manager.reserve_write(keys("c"), w.layout).ok(0) == l1_error::none);
    w.close();
}

TEST_CASE("store: reserve_write_when_free waits for what stores hold")
{
    world w{{.l1_objects = 2}};
    const auto later = w.time->now() + 1s;
    w.l2.stores.shut();
    w.write("a b");
    SUBCASE("and gets it when they are done")
    {
        auto waiting = w.start(w.manager.reserve_write_when_free(keys("c d"), w.layout, later));
        CHECK_FALSE(waiting.done());
        CHECK(w.l1().staged_objects == 0); // who waits holds nothing
        w.l2.stores.open();
        w.settle();
        CHECK(waiting.take().leading() == 2);
    }
    SUBCASE("in order of arrival")
    {
        auto first = w.start(w.manager.reserve_write_when_free(keys("c d"), w.layout, later));
        auto second = w.start(w.manager.reserve_write_when_free(keys("e"), w.layout, later));
        w.l2.stores.open();
        w.settle();
        CHECK(first.done());
        CHECK_FALSE(second.done());
        (void)first.take();
        w.settle();
        CHECK(second.take().leading() == 1);
    }
    SUBCASE("until its deadline, when it answers with what there is")
    {
        w.l2.stores.let_one_pass();
        w.settle();
        w.write("x"); // one of the two places is stored and may go, this one is not
        auto waiting = w.start(w.manager.reserve_write_when_free(keys("c d"), w.layout, later));
        w.pass(1s - 1ns);
        CHECK_FALSE(waiting.done());
        w.pass(1ns);
        auto lease = waiting.take();
        CHECK(lease.ok(0) == l1_error::none);
        CHECK(lease.ok(1) == l1_error::out_of_memory);
    }
    SUBCASE("cancelled, it leaves the line, and nothing is reserved")
    {
        auto first = w.start(w.manager.reserve_write_when_free(keys("c"), w.layout, later));
        auto second = w.start(w.manager.reserve_write_when_free(keys("d"), w.layout, later));
        first.cancel();
        w.settle();
        CHECK(first.was_aborted());
        w.l2.stores.open();
        w.settle();
        CHECK(second.take().leading() == 1);
    }
    SUBCASE("it does not wait for what can never be")
    {
        auto lease = w.run(w.manager.reserve_write_when_free(keys("c d e"), w.layout, later));
        CHECK(lease.ok(0) == l1_error::out_of_memory);
        const auto huge = memory_layout::known_by(~std::uint64_t{0}, 1);
        lease = w.run(w.manager.reserve_write_when_free(keys("c d"), huge, later));
        CHECK(lease.ok(0) == l1_error::larger_than_l1);
    }
    w.l2.stores.open();
    w.settle();
    w.close();
}

TEST_CASE("store: it does not wait for memory that nobody will release")
{
    world w{{.l1_objects = 2, .adapters = 0}};
    auto lease = w.run(w.manager.reserve_write_when_free(keys("a b c"), w.layout, w.time->now() + 1s));
    CHECK(lease.leading() == 2);
    lease = {};
    w.close();
}

TEST_CASE("store: under skip_l1 what is stored leaves L1")
{
    world w{{.adapters = 2, .store_policy = "skip_l1"}};
    SUBCASE("after the last of its targets")
    {
        w.adapters[1]->stores.shut();
        w.write("a b");
        CHECK(w.resident("a b"));
        w.adapters[1]->stores.open();
        w.settle();
        CHECK(w.l1().used_bytes == 0);
    }
    SUBCASE("unless one of them failed")
    {
        w.adapters[1]->unstorable = {key("a").to_string()};
        w.write("a b");
        CHECK(w.resident("a"));
        CHECK_FALSE(w.resident("b"));
    }
    SUBCASE("unless it is pinned")
    {
        w.adapters[1]->stores.shut();
        w.write("a b");
        CHECK(w.manager.pin(keys("a"), w.time->now() + 1s).all());
        w.adapters[1]->stores.open();
        w.settle();
        CHECK(w.resident("a"));
        CHECK_FALSE(w.resident("b"));
        w.pass(1s);
    }
    SUBCASE("read meanwhile, it goes with its reader")
    {
        w.adapters[0]->stores.shut();
        w.write("a");
        auto lease = w.manager.read(keys("a"));
        w.adapters[0]->stores.open();
        w.settle();
        CHECK(intact(lease));
        CHECK_FALSE(w.resident("a"));
        lease = {};
        CHECK(w.l1().used_bytes == 0);
    }
    w.close();
}

TEST_CASE("store: a failing adapter costs nobody else anything")
{
    world w{{.adapters = 2}};
    SUBCASE("it throws")
    {
        w.adapters[0]->store_throws = true;
        w.write("a b");
        CHECK(w.manager.status().adapters[0].errors == 1);
        CHECK(w.manager.status().store.failed_objects == 2);
    }
    SUBCASE("it stores some")
    {
        w.adapters[0]->unstorable = {key("a").to_string()};
        w.write("a b");
        CHECK(w.manager.status().store.failed_objects == 1);
        CHECK(w.manager.status().store.stored_objects == 3);
    }
    SUBCASE("it answers with a bitmap of another size")
    {
        w.adapters[0]->wrong_size = true;
        w.write("a b");
        CHECK(w.adapters[0]->store_calls == 1);
        CHECK(w.manager.status().adapters[0].errors == 1);
        CHECK(w.manager.status().store.failed_objects == 2);
    }
    SUBCASE("it hangs past its timeout: its objects stay locked, since it may still read them")
    {
        w.adapters[0]->stores.shut();
        w.write("a b");
        w.pass(adapter_options{}.store_timeout);
        CHECK(w.manager.status().adapters[0].timeouts == 1);
        CHECK(w.l1().locked_objects == 2);
        w.adapters[0]->stores.open();
        w.settle();
    }
    CHECK(words(w.adapters[1]->stored) == "a b");
    CHECK(w.l1().locks == 0);
    w.close();
}

TEST_CASE("store: an adapter works on no more batches at a time than its options say, in order")
{
    adapter_options one_at_a_time = without_retries();
    one_at_a_time.stores_in_flight = 1;
    world w{{.adapter = one_at_a_time}};
    w.l2.stores.shut();
    w.write("a");
    w.write("b");
    w.write("c");
    CHECK(w.l2.store_calls == 1);
    CHECK(w.manager.status().store.queued_objects == 2);
    CHECK(w.manager.status().store.queued_bytes == 2 * object_bytes);
    w.l2.stores.open();
    w.settle();
    CHECK(words(w.l2.stored) == "a b c");
    CHECK(w.manager.status().store.queued_objects == 0);
    w.close();
}

TEST_CASE("store: flush waits for what was committed before it, and for nothing after")
{
    world w;
    w.l2.stores.shut();
    w.write("a");
    auto flushed = w.start(w.manager.flush());
    w.write("b");
    CHECK_FALSE(flushed.done());
    w.l2.stores.let_one_pass();
    w.settle();
    CHECK(flushed.done());
    CHECK(words(w.l2.stored) == "a");
    w.l2.stores.open();
    w.settle();
    w.run(w.manager.flush()); // nothing is left
    w.close();
}

TEST_CASE("store: an update overwrites what is stored")
{
    world w;
    w.write("a");
    auto lease = w.manager.reserve_write(keys("a"), w.layout, write_mode::update);
    std::ranges::fill(lease.bytes(0), std::byte{9});
    lease.commit();
    w.settle();
    CHECK(w.l2.objects[key("a").to_string()] == std::vector<std::byte>(object_bytes, std::byte{9}));
    w.close();
}

TEST_CASE("store: who waits for room is served in order of arrival, whatever would fit")
{
    world w{{.l1_objects = 2}};
    w.l2.stores.shut();
    w.write("x");
    w.write("y");
    auto first = w.start(w.manager.reserve_write_when_free(keys("c d"), w.layout, w.time->now() + 2s));
    w.l2.stores.let_one_pass(); // room for one
    w.settle();
    auto second = w.start(w.manager.reserve_write_when_free(keys("e"), w.layout, w.time->now() + 1s));
    CHECK_FALSE(first.done());
    CHECK_FALSE(second.done());
    SUBCASE("the first leaves, and the turn goes on")
    {
        first.cancel();
        w.settle();
        CHECK(first.was_aborted());
        CHECK(second.take().leading() == 1);
    }
    SUBCASE("the second's deadline passes before its turn comes: it is answered with what the first does not need")
    {
        w.pass(1s);
        REQUIRE(second.done());
        CHECK(second.take().ok(0) == l1_error::out_of_memory);
        CHECK_FALSE(first.done());
        w.l2.stores.open();
        w.settle();
        CHECK(first.take().leading() == 2);
    }
    w.l2.stores.open();
    w.settle();
    w.close();
}

TEST_CASE("store: under skip_l1 what was not stored stays in L1")
{
    adapter_options one_at_a_time = without_retries();
    one_at_a_time.stores_in_flight = 1;
    world w{{.store_policy = "skip_l1", .adapter = one_at_a_time}};
    w.l2.stores.shut();
    SUBCASE("as its adapter was removed before its turn came")
    {
        w.write("a");
        w.write("b");
        auto removed = w.start(w.manager.remove_adapter(w.ids[0]));
        w.l2.stores.open();
        w.settle();
        CHECK(removed.take());
        CHECK(words(w.l2.stored) == "a");
        CHECK_FALSE(w.resident("a"));
        CHECK(w.resident("b"));
    }
    SUBCASE("as it has replaced what was stored")
    {
        w.write("a");
        auto lease = w.manager.reserve_write(keys("a"), w.layout, write_mode::update);
        std::ranges::fill(lease.bytes(0), std::byte{9});
        lease.commit();
        w.settle();
        w.l2.stores.let_one_pass(); // of the old bytes
        w.settle();
        auto fresh = w.manager.read(keys("a"));
        REQUIRE(fresh.size() == 1);
        CHECK(fresh.bytes(0)[0] == std::byte{9});
        fresh = {};
        w.l2.stores.open();
        w.settle();
        CHECK_FALSE(w.resident("a"));
    }
    w.close();
}

TEST_CASE("store: a long queue is worked off to its end")
{
    adapter_options one_at_a_time = without_retries();
    one_at_a_time.stores_in_flight = 1;
    world w{{.l1_objects = 64, .adapter = one_at_a_time}};
    w.l2.stores.shut();
    for (int i = 0; i < 60; ++i)
        w.write(std::to_string(i));
    CHECK(w.l2.store_calls == 1);
    w.l2.stores.open();
    w.settle();
    CHECK(w.l2.stored.size() == 60);
    CHECK(w.manager.status().store.queued_objects == 0);
    w.close();
}

TEST_CASE("store: flush waits for what was committed just before it on the engine's own thread")
{
    world w;
    w.l2.stores.shut();
    auto lease = w.manager.reserve_write(keys("a"), w.layout);
    auto commit_and_flush = [&]() -> asio::awaitable<void> {
        lease.commit();
        co_await w.manager.flush();
    };
    auto flushed = w.start(commit_and_flush());
    CHECK_FALSE(flushed.done());
    w.l2.stores.open();
    w.settle();
    CHECK(flushed.take());
    CHECK(words(w.l2.stored) == "a");
    w.close();
}

TEST_CASE("store: a store past its timeout is asked to stop, and gives its objects back when it does")
{
    world w{{.adapters = 0}};
    memory_options slow; // it honours cancellation
    slow.latency = 30s;
    slow.clock = w.time;
    adapter_options timeouts = without_retries();
    timeouts.store_timeout = 10s;
    w.manager.add_adapter(std::make_unique<memory_adapter>(slow), timeouts);
    w.write("a");
    CHECK(w.l1().locked_objects == 1);
    w.pass(10s);
    CHECK(w.l1().locked_objects == 0);
    CHECK(w.manager.status().store.failed_objects == 1);
    CHECK(w.manager.status().store.in_flight == 0);
    w.close();
}

TEST_CASE("store: who waits for more than can be had evicts nothing for it")
{
    world w{{.l1_objects = 4}};
    w.write("a b c");
    auto held = w.manager.read(keys("c"));
    auto waiting = w.start(w.manager.reserve_write_when_free(keys("p q r s"), w.layout, w.time->now() + 1s));
    CHECK_FALSE(waiting.done());
    CHECK(w.resident("a b"));
    held = {};
    w.settle();
    CHECK(waiting.take().leading() == 4);
    w.close();
}

TEST_CASE("store: a deadline in the past is refused at the door")
{
    world w;
    auto late = w.start(w.manager.reserve_write_when_free(keys("a"), w.layout, w.time->now()));
    CHECK_THROWS_WITH_AS(late.take(), doctest::Contains("the deadline passed 0 ns ago"), std::invalid_argument);
    CHECK(w.l1().staged_objects == 0);
    w.close();
}

TEST_CASE("store: who does not wait gets nothing of what the first in line needs")
{
    adapter_options one_object = without_retries();
    one_object.store_window_bytes = object_bytes;
    one_object.stores_in_flight = 1;
    world w{{.l1_objects = 4, .adapter = one_object}};
    w.l2.stores.shut();
    w.write("a b c d");
    auto waiting = w.start(w.manager.reserve_write_when_free(keys("p q"), w.layout, w.time->now() + 1h));
    w.l2.stores.let_one_pass();
    w.settle();
    CHECK(w.manager.reserve_write(keys("x"), w.layout).ok(0) == l1_error::out_of_memory);
    w.l2.stores.let_one_pass();
    w.settle();
    auto lease = waiting.take();
    CHECK(lease.leading() == 2);
    w.l2.stores.let_one_pass();
    w.settle();
    CHECK(w.manager.reserve_write(keys("x"), w.layout).ok(0) == l1_error::none);
    SUBCASE("nor does what it has left behind stand in the way")
    {
        auto second = w.start(w.manager.reserve_write_when_free(keys("p2 q2"), w.layout, w.time->now() + 1h));
        CHECK(w.manager.reserve_write(keys("x"), w.layout).ok(0) == l1_error::out_of_memory);
        second.cancel();
        w.settle();
        CHECK(w.manager.reserve_write(keys("x"), w.layout).ok(0) == l1_error::none);
    }
    w.l2.stores.open();
    lease = {};
    w.settle();
    w.close();
}
