#include "support/world.hpp"

#include <boost/asio/use_future.hpp>
#include <thread>

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

TEST_CASE("prefetch: brings what L2 has into L1 and locks it for the caller")
{
    world w;
    w.put("a b c");
    {
        auto hits = w.run(w.prefetch("a b c"));
        CHECK(hits.prefix_hits == 3);
        CHECK(hits.l1_hits == 0);
        CHECK(hits.l2_hits == 3);
        CHECK(hits.found.all());
        CHECK(words(hits.lease) == "a b c");
        CHECK(intact(hits.lease));
        CHECK(w.l1().locked_objects == 3);
    }
    CHECK(w.l2.total_locks() == 0);
    w.close();
}

TEST_CASE("prefetch: what is all in L1 does not wait for the engine's executor")
{
    world w;
    w.write("a b");
    w.put("c");
    asio::io_context elsewhere{1};
    w.caller = elsewhere.get_executor();
    auto in_l1 = w.launch(w.prefetch("a b"));
    auto in_l2 = w.launch(w.prefetch("a b c"));
    elsewhere.poll(); // the engine's does not run
    REQUIRE(in_l1.done());
    CHECK(words(in_l1.take().lease) == "a b");
    CHECK_FALSE(in_l2.done());
    w.settle();
    CHECK_FALSE(in_l2.done()); // it is resumed on its own executor
    elsewhere.poll();
    CHECK(words(in_l2.take().lease) == "a b c");

    SUBCASE("nor is it given away once the engine is closed")
    {
        w.caller = w.io.get_executor();
        w.close();
        w.caller = elsewhere.get_executor();
        auto late = w.launch(w.prefetch("a b"));
        elsewhere.restart();
        elsewhere.poll();
        CHECK(late.failed());
    }
}

TEST_CASE("prefetch: an object after a gap is worth nothing")
{
    world w;
    w.put("a b d"); // "c" is missing
    SUBCASE("only the prefix is loaded")
    {
        auto hits = w.run(w.prefetch("a b c d"));
        CHECK(hits.prefix_hits == 2);
        CHECK(hits.found == bitmap::first(2, 4));
        CHECK(words(w.l2.loaded) == "a b");
        CHECK_FALSE(w.resident("d"));
    }
    SUBCASE("what lies after it is unlocked before the load, not at the end")
    {
        w.l2.loads.shut();
        auto hits = w.start(w.prefetch("a b c d"));
        CHECK(w.l2.total_locks() == 2);
        CHECK(w.l2.locks[key("d").to_string()] == 0);
        w.l2.loads.open();
        w.settle();
        CHECK(hits.take().prefix_hits == 2);
    }
    SUBCASE("the first key missing means no hit at all")
    {
        auto hits = w.run(w.prefetch("x a b"));
        CHECK(hits.prefix_hits == 0);
        CHECK(hits.lease.empty());
        CHECK(w.l2.load_calls == 0);
    }
    SUBCASE("under the sparse rule it counts all the same")
    {
        auto hits = w.run(w.manager.prefetch(w.request("a b c d").set_trim(trim_rule::sparse)));
        CHECK(hits.prefix_hits == 2);
        CHECK(words(hits.lease) == "a b d");
        CHECK_FALSE(hits.found.test(2));
    }
    w.close();
}

TEST_CASE("prefetch: L1 is looked at first, and L2 is asked only for the rest")
{
    world w;
    w.write("a c");
    w.l2.objects.clear();
    SUBCASE("everything in L1: no adapter hears of it")
    {
        auto hits = w.run(w.prefetch("a"));
        CHECK(hits.l1_hits == 1);
        CHECK(intact(hits.lease));
        CHECK(w.l2.lookup_calls == 0);
    }
    SUBCASE("what is resident after an L2 prefix extends it")
    {
        w.put("b");
        auto hits = w.run(w.prefetch("a b c"));
        CHECK(words(w.l2.looked_up) == "b");
        CHECK(hits.prefix_hits == 3);
        CHECK(hits.l1_hits == 2);
        CHECK(hits.l2_hits == 1);
        CHECK(words(hits.lease) == "a b c");
        CHECK(intact(hits.lease));
    }
    SUBCASE("what is resident after a gap is left unlocked")
    {
        auto hits = w.run(w.prefetch("a b c"));
        CHECK(hits.prefix_hits == 1);
        CHECK(w.l1().locks == 1);
    }
    SUBCASE("what is resident under another layout is not a hit")
    {
        auto other = w.run(w.manager.prefetch({keys("a"), memory_layout{{tensor{{object_bytes / 2}, dtype::f16}}}}));
        CHECK(other.prefix_hits == 0);
    }
    w.close();
}

TEST_CASE("prefetch: several adapters")
{
    world w{{.adapters = 3}};
    SUBCASE("what they have together is one hit")
    {
        w.put(*w.adapters[0], "a d");
        w.put(*w.adapters[1], "b");
        w.put(*w.adapters[2], "c");
        auto hits = w.run(w.prefetch("a b c d"));
        CHECK(hits.prefix_hits == 4);
        CHECK(intact(hits.lease));
    }
    SUBCASE("what several have is loaded from the lowest index only")
    {
        w.put(*w.adapters[1], "a b");
        w.put(*w.adapters[2], "a b");
        CHECK(w.run(w.prefetch("a b")).prefix_hits == 2);
        CHECK(words(w.adapters[1]->loaded) == "a b");
        CHECK(w.adapters[2]->load_calls == 0);
    }
    SUBCASE("one that throws costs its own hits only")
    {
        w.put(*w.adapters[0], "a b");
        w.put(*w.adapters[1], "a");
        w.adapters[0]->lookup_throws = true;
        CHECK(w.run(w.prefetch("a b")).prefix_hits == 1);
        CHECK(w.manager.status().adapters[0].errors == 1);
    }
    SUBCASE("one whose load throws costs its own hits only")
    {
        w.put(*w.adapters[0], "b");
        w.put(*w.adapters[1], "a");
        w.adapters[0]->load_throws = true;
        CHECK(w.run(w.prefetch("a b")).prefix_hits == 1);
        CHECK(w.manager.status().adapters[0].errors == 1);
        CHECK(w.manager.status().prefetch.failed_loads == 1);
    }
    SUBCASE("one that answers with a bitmap of another size is not believed")
    {
        w.put(*w.adapters[0], "a");
        w.put(*w.adapters[1], "a");
        w.adapters[0]->wrong_size = true;
        auto hits = w.run(w.prefetch("a b"));
        CHECK(hits.prefix_hits == 1);
        CHECK(w.adapters[1]->load_calls == 1);
        CHECK(w.manager.status().adapters[0].errors == 1);
    }
    SUBCASE("one that hangs is waited for no longer than its lookup timeout, and asked to unlock what it found late")
    {
        w.put(*w.adapters[0], "a b");
        w.put(*w.adapters[1], "a");
        w.adapters[0]->lookups.shut();
        auto hits = w.start(w.prefetch("a b"));
        w.pass(adapter_options{}.lookup_timeout - 1ms);
        CHECK_FALSE(hits.done());
        w.pass(1ms);
        CHECK(hits.take().prefix_hits == 1);
        CHECK(w.manager.status().adapters[0].timeouts == 1);
        w.adapters[0]->lookups.open();
        w.settle();
        CHECK(w.adapters[0]->total_locks() == 0);
        CHECK(w.manager.status().prefetch.in_flight == 0);
    }
    SUBCASE("none is left locked by what it does not load")
    {
        for (auto& adapter : w.adapters)
            w.put(*adapter, "a b d");
        (void)w.run(w.prefetch("a b c d"));
        for (auto& adapter : w.adapters)
            CHECK(adapter->total_locks() == 0);
    }
    w.close();
}

TEST_CASE("prefetch: a load that fails after the lookup said yes shortens the prefix")
{
    world w;
    w.put("a b c");
    w.l2.broken = {key("b").to_string()};
    SUBCASE("what was loaded before it is the hit, what was loaded after it holds no lock")
    {
        auto hits = w.run(w.prefetch("a b c"));
        CHECK(hits.prefix_hits == 1);
        CHECK(words(hits.lease) == "a");
        CHECK(intact(hits.lease));
        CHECK(w.l1().locks == 1);
        CHECK(w.manager.status().prefetch.failed_loads == 1);
    }
    SUBCASE("its buffer is never seen by a reader")
    {
        (void)w.run(w.prefetch("a b c"));
        CHECK(w.manager.read(keys("b")).empty());
    }
    SUBCASE("under the sparse rule the others count")
    {
        auto hits = w.run(w.manager.prefetch(w.request("a b c").set_trim(trim_rule::sparse)));
        CHECK(words(hits.lease) == "a c");
    }
    w.close();
}

TEST_CASE("prefetch: temporary objects go with their last reader, retained ones stay")
{
    SUBCASE("the default policy's are temporary")
    {
        world w;
        w.put("a");
        {
            auto hits = w.run(w.prefetch("a"));
            auto other = w.run(w.prefetch("a")); // a hit in L1: one reader more
            CHECK(other.l1_hits == 1);
            hits.lease = {};
            CHECK(intact(other.lease));
            CHECK(w.resident("a"));
        }
        CHECK_FALSE(w.resident("a"));
        CHECK(w.l1().used_bytes == 0);
        w.close();
    }
    SUBCASE("the retain policy's stay")
    {
        world w{{.prefetch_policy = "retain"}};
        w.put("a");
        (void)w.run(w.prefetch("a"));
        CHECK(w.resident("a"));
        w.close();
    }
}

TEST_CASE("prefetch: each of several readers releases on its own")
{
    world w;
    w.put("b");
    w.write("a");
    auto hits = w.run(w.manager.prefetch(w.request("a b").set_readers(3)));
    CHECK(w.l1().locks == 6);
    auto readers = hits.lease.split();
    REQUIRE(readers.size() == 3);
    CHECK(hits.lease.empty());
    readers.pop_back();
    CHECK(w.l1().locks == 4);
    readers.pop_back();
    CHECK(intact(readers.front()));
    CHECK(w.resident("b"));
    readers.pop_back();
    CHECK(w.l1().locks == 0);
    CHECK_FALSE(w.resident("b")); // temporary
    CHECK(w.resident("a"));
    w.close();
}

TEST_CASE("prefetch: a warm request leaves its objects in L1, unlocked and retained")
{
    world w;
    w.put("a b");
    auto hits = w.run(w.manager.prefetch(w.request("a b").set_lock(lock_mode::no)));
    CHECK(hits.prefix_hits == 2);
    CHECK(hits.lease.empty());
    CHECK(w.l1().locks == 0);
    CHECK(w.resident("a b"));
    w.close();
}

TEST_CASE("prefetch: a warm request retains what others have brought into L1 for themselves only")
{
    world w;
    w.put("a b c");
    w.l2.broken = {key("b").to_string()};
    auto demand = w.run(w.manager.prefetch(w.request("a b c").set_trim(trim_rule::sparse)));
    CHECK(demand.found.count() == 2);
    auto warm = w.run(w.manager.prefetch(w.request("a b c").set_lock(lock_mode::no)));
    CHECK(warm.prefix_hits == 1);
    demand.lease = {};
    CHECK(w.resident("a"));
    CHECK_FALSE(w.resident("c")); // no part of what the warm request got
    w.close();
}

TEST_CASE("prefetch: too little L1 memory trims the hit, it does not fail")
{
    world w{{.l1_objects = 3}};
    w.put("a b c d e");
    SUBCASE("an empty L1 of three objects serves three")
    {
        auto hits = w.run(w.prefetch("a b c d e"));
        CHECK(hits.prefix_hits == 3);
        CHECK(intact(hits.lease));
        CHECK(w.l2.total_locks() == 0);
    }
    SUBCASE("what others read is not evicted for it")
    {
        auto others = w.run(w.prefetch("e d"));
        auto hits = w.run(w.prefetch("a b c"));
        CHECK(hits.prefix_hits == 1);
        CHECK(intact(others.lease));
    }
    SUBCASE("what nobody reads is")
    {
        w.write("x y z");
        auto hits = w.run(w.prefetch("a b c"));
        CHECK(hits.prefix_hits == 3);
        CHECK(w.l1().evicted_objects == 3);
    }
    SUBCASE("memory that stores hold is waited for")
    {
        w.l2.stores.shut();
        w.write("x y z");
        auto hits = w.start(w.prefetch("a b c"));
        CHECK_FALSE(hits.done());
        w.l2.stores.open();
        w.settle();
        CHECK(hits.take().prefix_hits == 3);
    }
    SUBCASE("but not for longer than the room timeout")
    {
        w.l2.stores.shut();
        w.write("x y");
        auto hits = w.start(w.prefetch("a b c"));
        w.pass(prefetch_limits_config{}.room_timeout);
        CHECK(hits.take().prefix_hits == 1);
        w.l2.stores.open();
        w.settle();
    }
    w.close();
}

TEST_CASE("prefetch: it waits for room only if stores alone can make it")
{
    world w{{.l1_objects = 8}};
    w.put("a b c d e f g h i");
    SUBCASE("not for more than L1 has")
    {
        w.l2.stores.shut();
        w.write("x");
        CHECK(w.run(w.prefetch("a b c d e f g h i")).prefix_hits == 7);
        CHECK(w.manager.reserve_write(keys("y"), w.layout).ok(0) == l1_error::none);
    }
    SUBCASE("not for what readers hold")
    {
        w.write("r s t u");
        auto reading = w.manager.read(keys("r s t u"));
        w.l2.stores.shut();
        w.write("x");
        CHECK(w.run(w.prefetch("a b c d e")).prefix_hits == 3); // 4 if the store ended
        CHECK(w.manager.reserve_write(keys("y"), w.layout).ok(0) == l1_error::none);
    }
    SUBCASE("not behind a writer who waits for readers")
    {
        w.write("r s t u v");
        auto reading = w.manager.read(keys("r s t u v"));
        w.l2.stores.shut();
        w.write("x");
        auto writer = w.start(w.manager.reserve_write_when_free(keys("p q r2 s2"), w.layout, w.time->now() + 1h));
        CHECK_FALSE(writer.done());
        CHECK(w.run(w.prefetch("a")).prefix_hits == 0); // the writer needs all that there is
        reading = {};
        w.settle();
        CHECK(writer.take().leading() == 4);
    }
    SUBCASE("behind a writer who waits for a store it does, until that takes something else")
    {
        w.write("r s");
        auto reading = w.manager.read(keys("r s"));
        w.l2.stores.shut();
        w.write("u v w x");
        auto writer = w.start(w.manager.reserve_write_when_free(keys("p q t"), w.layout, w.time->now() + 1h));
        auto hits = w.start(w.prefetch("a b c d"));
        CHECK_FALSE(hits.done());
        w.l2.stores.open();
        w.settle();
        CHECK(writer.done());
        CHECK(hits.take().prefix_hits == 3);
        (void)writer.take();
    }
    w.l2.stores.open();
    w.settle();
    w.close();
}

TEST_CASE("prefetch: cancelled, it answers at once, and its buffers stay until the adapter has let go of them")
{
    world w;
    w.put("a b");
    SUBCASE("in the lookup")
    {
        w.l2.lookups.shut();
        auto hits = w.start(w.prefetch("a b"));
        hits.cancel();
        w.settle();
        CHECK(hits.was_aborted());
        w.l2.lookups.open();
        w.settle();
        CHECK(w.l2.total_locks() == 0);
    }
    SUBCASE("in the load")
    {
        w.l2.loads.shut();
        auto hits = w.start(w.prefetch("a b"));
        hits.cancel();
        w.settle();
        CHECK(hits.was_aborted());
        CHECK(w.l1().staged_objects == 2);
        CHECK(w.l1().locks == 0);
        CHECK(w.l2.total_locks() == 2); // the load goes on
        w.l2.loads.open();
        w.settle();
        CHECK(w.l1().staged_objects == 0);
        CHECK(w.l2.total_locks() == 0);
    }
    SUBCASE("while it waits for room")
    {
        world full{{.l1_objects = 2}};
        full.put("a b");
        full.l2.stores.shut();
        full.write("x y");
        auto hits = full.start(full.prefetch("a b"));
        hits.cancel();
        full.settle();
        CHECK(hits.was_aborted());
        CHECK(full.l2.total_locks() == 0);
        full.l2.stores.open();
        full.settle();
        full.close();
    }
    w.close();
}

TEST_CASE("prefetch: two requests for one key both get it, in one copy")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto first = w.start(w.prefetch("a"));
    auto second = w.start(w.prefetch("a"));
    w.l2.loads.open();
    w.settle();
    auto a = first.take();
    auto b = second.take();
    CHECK(a.prefix_hits == 1);
    CHECK(b.prefix_hits == 1);
    CHECK(a.lease.bytes(0).data() == b.lease.bytes(0).data());
    CHECK(w.l1().resident_objects == 1);
    CHECK(w.l1().locks == 2);
    a.lease = {};
    CHECK(intact(b.lease));
    b.lease = {};
    w.close();
}

TEST_CASE("prefetch: without adapters only L1 answers")
{
    world w{{.adapters = 0}};
    w.write("a");
    CHECK(w.run(w.prefetch("a b")).prefix_hits == 1);
    w.close();
}

TEST_CASE("prefetch: bad requests are refused at the door, and nothing has changed")
{
    world w;
    w.put("a b");
    const auto refused = [&](prefetch_request r, const char* why) {
        CHECK_THROWS_WITH_AS(w.run(w.manager.prefetch(std::move(r))), doctest::Contains(why), std::invalid_argument);
    };
    refused(w.request("a b a"), "stands twice, at 0 and 2");
    refused({{key("a"), object_key{}}, w.layout}, "key 1 of 2 is empty");
    refused({keys("a"), memory_layout{}}, "the layout has 0 bytes");
    refused(w.request("a").set_readers(0), "0 readers; expected 1 to 128");
    refused(w.request("a").set_readers(129), "129 readers; expected 1 to 128");
    refused(w.request("a").set_deadline(w.time->now()), "the deadline passed 0 ns ago");
    CHECK(w.manager.status().prefetch.requests == 0);
    CHECK(w.l2.lookup_calls == 0);
    w.close();
}

TEST_CASE("prefetch: a lookup counts and pins, and moves nothing")
{
    world w{{.l1_objects = 2}};
    w.write("a");
    w.put("b d");
    auto ticket = w.run(w.manager.lookup(w.request("a b c d").set_readers(2)));
    CHECK(ticket.hits() == 2);
    CHECK(ticket.prefix_hits() == 2);
    CHECK(w.l2.load_calls == 0);
    CHECK(w.l1().locks == 2);
    CHECK(w.l2.total_locks() == 1);
    SUBCASE("what it pins in L1 is not evicted")
    {
        auto lease = w.manager.reserve_write(keys("x y"), w.layout);
        CHECK(lease.leading() == 1);
        CHECK(w.resident("a"));
    }
    SUBCASE("load() runs the rest with the same readers")
    {
        auto hits = w.run(ticket.load());
        CHECK(hits.prefix_hits == 2);
        CHECK(intact(hits.lease));
        CHECK(hits.lease.readers() == 2);
        CHECK(ticket.hits() == 0);
        CHECK(w.run(ticket.load()).prefix_hits == 0); // spent
    }
    SUBCASE("dropping it unpins")
    {
        ticket = {};
        w.settle();
    }
    ticket = {};
    w.settle();
    CHECK(w.l1().locks == 0);
    CHECK(w.l2.total_locks() == 0);
    w.close();
}

TEST_CASE("prefetch: submitted, it runs on its own")
{
    world w;
    w.put("a b");
    w.l2.loads.shut();
    auto handle = w.manager.submit_prefetch(w.request("a b c"));
    CHECK_FALSE(handle.lookup_hits());
    w.settle();
    SUBCASE("its hits are known before a byte is loaded, and its result is given once")
    {
        CHECK(handle.lookup_hits() == 2);
        CHECK_FALSE(handle.poll());
        w.l2.loads.open();
        w.settle();
        auto result = handle.poll();
        REQUIRE(result);
        CHECK(result->prefix_hits == 2);
        CHECK(intact(result->lease));
        CHECK_FALSE(handle.poll());
    }
    SUBCASE("it can be waited for")
    {
        auto waiter = w.start(handle.wait());
        CHECK_FALSE(waiter.done());
        w.l2.loads.open();
        w.settle();
        CHECK(waiter.take().prefix_hits == 2);
    }
    SUBCASE("who gives up waiting does not stop it")
    {
        auto waiter = w.start(handle.wait());
        waiter.cancel();
        w.settle();
        CHECK(waiter.was_aborted());
        w.l2.loads.open();
        w.settle();
        CHECK(handle.poll()->prefix_hits == 2);
    }
    SUBCASE("dropping the handle cancels it and releases what it brings")
    {
        handle = {};
        w.settle();
        CHECK(w.l1().locks == 0);
        w.l2.loads.open();
    }
    w.l2.loads.open();
    w.settle();
    w.close();
}

TEST_CASE("prefetch: callable from another thread's executor, with futures and with callbacks")
{
    world w;
    w.put("a");
    std::optional<prefetch_result> by_callback;
    w.manager.async_prefetch(w.request("a"), [&](std::exception_ptr error, prefetch_result result) {
        CHECK_FALSE(error);
        by_callback = std::move(result);
    });
    auto by_future = w.manager.async_prefetch(w.request("a"), asio::use_future);
    w.settle();
    CHECK(by_callback->prefix_hits == 1);
    auto result = by_future.get();
    CHECK(result.prefix_hits == 1);

    asio::io_context other{1};
    std::thread::id engine_thread;
    auto crossing = [&]() -> asio::awaitable<std::size_t> {
        auto hits = co_await w.manager.prefetch(w.request("a"));
        CHECK(std::this_thread::get_id() != engine_thread);
        co_return hits.prefix_hits;
    };
    auto future = asio::co_spawn(other, crossing(), asio::use_future);
    auto guard = asio::make_work_guard(w.io);
    std::thread engine{[&] {
        engine_thread = std::this_thread::get_id();
        w.io.restart();
        w.io.run();
    }};
    other.run();
    CHECK(future.get() == 1);
    guard.reset();
    engine.join();
    result.lease = {};
    by_callback.reset();
    w.close();
}

TEST_CASE("prefetch: a load that answers with a bitmap of another size is not believed")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto hits = w.start(w.prefetch("a"));
    w.l2.wrong_size = true;
    w.l2.loads.open();
    w.settle();
    CHECK(hits.take().prefix_hits == 0);
    CHECK_FALSE(w.resident("a"));
    CHECK(w.manager.status().adapters[0].errors == 1);
    CHECK(w.l1().used_bytes == 0);
    w.close();
}

TEST_CASE("prefetch: an object that was written under another layout meanwhile is no hit")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto hits = w.start(w.prefetch("a"));
    w.l2.stores.shut(); // so that the load finds what it is for
    w.manager.reserve_write(keys("a"), memory_layout::bytes(object_bytes / 2)).commit();
    w.settle();
    w.l2.loads.open();
    w.settle();
    auto result = hits.take();
    CHECK(result.prefix_hits == 0);
    CHECK(result.lease.empty());
    w.l2.stores.open();
    w.settle();
    CHECK(w.l1().locks == 0);
    w.close();
}

TEST_CASE("prefetch: what it cannot use is given back before the load, not at the end")
{
    world w{{.l1_objects = 3}};
    SUBCASE("an object in L1 that lies after a gap")
    {
        w.put("a");
        w.write("c");
        w.l2.objects.erase(key("c").to_string());
        w.l2.loads.shut();
        auto hits = w.start(w.prefetch("a b c"));
        CHECK(w.l1().locks == 0);
        w.l2.loads.open();
        w.settle();
        CHECK(hits.take().prefix_hits == 1);
    }
    SUBCASE("the same, when nothing is to be loaded yet")
    {
        w.put("a");
        w.write("c");
        w.l2.objects.erase(key("c").to_string());
        auto ticket = w.run(w.manager.lookup(w.request("a b c")));
        CHECK(ticket.hits() == 1);
        CHECK(w.l1().locks == 0);
        ticket = {};
        w.settle();
    }
    SUBCASE("what lies after the first object that there is no room for, in L1 and in L2")
    {
        w.write("x c");
        w.put("a b");
        auto others = w.manager.read(keys("x"));
        w.l2.loads.shut();
        auto hits = w.start(w.prefetch("a b c"));
        CHECK(w.l1().staged_objects == 1);
        CHECK(w.l1().locks == 1); // the other reader's
        CHECK(w.l2.total_locks() == 1);
        w.l2.loads.open();
        w.settle();
        auto result = hits.take();
        CHECK(result.prefix_hits == 1);
        CHECK(intact(result.lease));
        CHECK(words(w.l2.loaded) == "a");
    }
    w.close();
}

TEST_CASE("prefetch: an adapter that hangs in an unlock is counted, and nobody waits for it")
{
    world w;
    w.put("a");
    w.l2.unlocks.shut();
    CHECK(w.run(w.prefetch("a")).prefix_hits == 1);
    CHECK(w.manager.status().prefetch.in_flight == 1);
    w.pass(adapter_options{}.unlock_timeout - 1ms);
    CHECK(w.manager.status().adapters[0].timeouts == 0);
    w.pass(1ms);
    CHECK(w.manager.status().adapters[0].timeouts == 1);
    w.l2.unlocks.open();
    w.settle();
    w.close();
}

TEST_CASE("prefetch: an adapter whose unlock throws costs nobody anything")
{
    world w;
    w.put("a");
    w.l2.unlock_throws = true;
    CHECK(w.run(w.prefetch("a")).prefix_hits == 1);
    CHECK(w.manager.status().prefetch.l2_locks == 0);
    CHECK(w.manager.status().adapters[0].errors == 1);
    w.close();
}

TEST_CASE("prefetch: a policy that names an adapter that has not got the key is not believed")
{
    /// Names one adapter for every key, whatever was found.
    class stubborn final : public prefetch_policy {
    public:
        explicit stubborn(std::uint32_t adapter) : adapter_{adapter} {}
        std::string_view name() const noexcept override { return "stubborn"; }
        load_plan select_load_plan(std::span<const object_key> keys, std::span<const bitmap>) const override
        {
            load_plan plan{keys.size()};
            for (std::size_t i = 0; i < keys.size(); ++i)
                plan.set_source(i, adapter_);
            return plan;
        }
        bitmap select_l1_retentions(std::span<const object_key> keys) const override { return bitmap{keys.size()}; }

    private:
        std::uint32_t adapter_;
    };
    std::uint32_t named = 0;
    std::size_t hits = 1;
    SUBCASE("one that has it") {}
    SUBCASE("one that has not")
    {
        named = 1;
        hits = 0;
    }
    SUBCASE("none of the engine's")
    {
        named = 2;
        hits = 0;
    }
    world w{{.adapters = 2}};
    config cfg;
    cfg.l1.capacity_bytes = 4 * object_bytes;
    cfg.l1.huge_pages = huge_page_mode::off;
    cfg.clock = w.time;
    cfg.prefetch = std::make_shared<stubborn>(named);
    storage_manager manager{w.io.get_executor(), cfg};
    for (auto& script : w.adapters)
        manager.add_adapter(std::make_unique<scripted_adapter>(script));
    w.put("a");
    auto ticket = w.run(manager.lookup(w.request("a b")));
    CHECK(ticket.hits() == hits);
    CHECK(w.l2.total_locks() == static_cast<int>(hits));
    ticket = {};
    w.run(manager.close());
    check_nothing_left(w);
}

TEST_CASE("prefetch: what is removed between its steps")
{
    world w;
    w.write("a");
    w.put("b c");
    w.l2.loads.shut();
    auto hits = w.start(w.prefetch("a b c"));
    SUBCASE("from L1: what the request has pinned is hidden, and stays for it")
    {
        w.manager.clear(clear_mode::force);
        CHECK_FALSE(w.resident("a"));
        w.l2.loads.open();
        w.settle();
        auto result = hits.take();
        CHECK(result.prefix_hits == 3);
        CHECK(words(result.lease) == "a b c");
        CHECK(intact(result.lease));
    }
    SUBCASE("from L1 by whoever needs the room: nothing of the request is evicted")
    {
        auto greedy = w.manager.reserve_write(keys("p q r s t u v w"), w.layout);
        CHECK(greedy.leading() == 5); // all but one pinned and two staged
        w.l2.loads.open();
        w.settle();
        CHECK(hits.take().prefix_hits == 3);
    }
    SUBCASE("from L2 after the lookup: the prefix ends there")
    {
        w.l2.objects.erase(key("c").to_string());
        w.l2.loads.open();
        w.settle();
        CHECK(hits.take().prefix_hits == 2);
    }
    w.close();
}

TEST_CASE("prefetch: the policy decides for each key whether it stays in L1")
{
    /// Keeps what is at an even place.
    class every_other final : public prefetch_policy {
    public:
        [[nodiscard]] std::string_view name() const noexcept override { return "every_other"; }
        [[nodiscard]] load_plan select_load_plan(std::span<const object_key> wanted,
                                                 std::span<const bitmap> found) const override
        {
            return prefetch_policy::make("default")->select_load_plan(wanted, found);
        }
        [[nodiscard]] bitmap select_l1_retentions(std::span<const object_key> loaded) const override
        {
            bitmap retained{loaded.size()};
            for (std::size_t i = 0; i < loaded.size(); i += 2)
                retained.set(i);
            return retained;
        }
    };
    asio::io_context io{1};
    auto script = std::make_shared<scripted_adapter::script>();
    for (const object_key& k : keys("a b c"))
        script->objects[k.to_string()] = payload(k);
    config cfg;
    cfg.l1.capacity_bytes = 4 * object_bytes;
    cfg.prefetch = std::make_shared<every_other>();
    storage_manager manager{io.get_executor(), cfg};
    manager.add_adapter(std::make_unique<scripted_adapter>(script));
    auto result = manager.async_prefetch({keys("a b c"), memory_layout::bytes(object_bytes)}, asio::use_future);
    io.poll();
    CHECK(result.get().prefix_hits == 3); // and its lease is gone
    CHECK(manager.read(keys("a")).size() == 1);
    CHECK(manager.read(keys("b")).empty());
    CHECK(manager.read(keys("c")).size() == 1);
}

TEST_CASE("prefetch: a policy that answers about other keys is not believed, and nothing is retained")
{
    class answers_for_one final : public prefetch_policy {
    public:
        [[nodiscard]] std::string_view name() const noexcept override { return "answers_for_one"; }
        [[nodiscard]] load_plan select_load_plan(std::span<const object_key> wanted,
                                                 std::span<const bitmap> found) const override
        {
            return prefetch_policy::make("default")->select_load_plan(wanted, found);
        }
        [[nodiscard]] bitmap select_l1_retentions(std::span<const object_key>) const override
        {
            return bitmap{1, true};
        }
    };
    asio::io_context io{1};
    auto script = std::make_shared<scripted_adapter::script>();
    for (const object_key& k : keys("a b"))
        script->objects[k.to_string()] = payload(k);
    config cfg;
    cfg.l1.capacity_bytes = 4 * object_bytes;
    cfg.prefetch = std::make_shared<answers_for_one>();
    storage_manager manager{io.get_executor(), cfg};
    manager.add_adapter(std::make_unique<scripted_adapter>(script));
    auto result = manager.async_prefetch({keys("a b"), memory_layout::bytes(object_bytes)}, asio::use_future);
    io.poll();
    CHECK(result.get().prefix_hits == 2);
    CHECK(manager.status().l1.resident_objects == 0);
}
