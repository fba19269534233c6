#include "support/world.hpp"

using namespace terrace;
using namespace terrace::test;

namespace {

/// Every object is a load of its own.
world_options one_by_one()
{
    world_options options;
    options.limits.window_bytes = object_bytes;
    return options;
}

} // namespace

TEST_CASE("streaming: the first keys are readable while the rest still loads")
{
    world w{one_by_one()};
    w.put("a b c");
    w.l2.loads.shut();
    auto handle = w.manager.submit_prefetch(w.request("a b c"));
    w.settle();
    CHECK(w.l2.load_calls == 3);
    auto one = w.start(handle.readable(1));
    auto two = w.start(handle.readable(2));
    auto all = w.start(handle.readable(3));
    CHECK_FALSE(one.done());
    w.l2.loads.let_one_pass();
    w.settle();
    REQUIRE(one.done());
    auto head = one.take();
    CHECK(words(head) == "a");
    CHECK(intact(head));
    CHECK_FALSE(two.done());
    w.l2.loads.let_one_pass();
    w.settle();
    CHECK(words(two.take()) == "a b");
    CHECK_FALSE(handle.poll());
    SUBCASE("the end of the request ends the waiting, and takes nothing from the result")
    {
        w.l2.loads.open();
        w.settle();
        CHECK(words(all.take()) == "a b c");
        CHECK(words(handle.poll()->lease) == "a b c");
        CHECK(w.run(handle.readable(1)).empty()); // the result has been taken
    }
    SUBCASE("when no more comes, what there is is given")
    {
        w.l2.broken = {key("c").to_string()};
        w.l2.loads.open();
        w.settle();
        CHECK(words(all.take()) == "a b");
    }
    SUBCASE("what is being read stays although the request is cancelled")
    {
        handle.cancel();
        w.settle();
        CHECK(all.take().empty());
        CHECK(intact(head));
    }
    w.l2.loads.open();
    w.settle();
    head = {};
    handle = {};
    w.settle();
    w.close();
}

TEST_CASE("streaming: callers that are not coroutines wait by callback, and an empty handle is refused")
{
    world w;
    w.put("a");
    auto handle = w.manager.submit_prefetch(w.request("a"));
    std::string seen;
    handle.async_readable(1, [&](std::exception_ptr, read_lease lease) { seen = words(lease); });
    w.settle();
    CHECK(seen == "a");
    auto moved = std::move(handle);
    CHECK_FALSE(handle.poll());
    CHECK_THROWS_AS((void)handle.readable(1), std::invalid_argument);
    CHECK_THROWS_AS(handle.async_wait([](std::exception_ptr, prefetch_result) {}), std::invalid_argument);
    moved = {};
    w.settle();
    w.close();
}

TEST_CASE("streaming: windows bound what one call loads, and keep the order")
{
    auto options = one_by_one();
    options.limits.window_bytes = 2 * object_bytes;
    world w{options};
    w.put("a b c d e");
    CHECK(w.run(w.prefetch("a b c d e")).prefix_hits == 5);
    CHECK(w.l2.load_calls == 3);
    CHECK(words(w.l2.loaded) == "a b c d e");
    w.close();
}

TEST_CASE("streaming: loading starts from the adapter whose answer extends the prefix, while another still looks up")
{
    world w{{.adapters = 2}};
    w.put(*w.adapters[0], "c");
    w.put(*w.adapters[1], "a b");
    w.adapters[0]->lookups.shut();
    auto hits = w.start(w.prefetch("a b c"));
    CHECK(words(w.adapters[1]->loaded) == "a b");
    CHECK_FALSE(hits.done());
    SUBCASE("what the slow one has then extends it")
    {
        w.adapters[0]->lookups.open();
        w.settle();
        CHECK(hits.take().prefix_hits == 3);
    }
    SUBCASE("it is not waited for past its own timeout")
    {
        w.pass(adapter_options{}.lookup_timeout);
        CHECK(hits.take().prefix_hits == 2);
        w.adapters[0]->lookups.open();
        w.settle();
    }
    w.close();
}

TEST_CASE("streaming: a slow adapter is not waited for at all where a fast one has everything")
{
    world w{{.adapters = 2}};
    w.put(*w.adapters[0], "a b");
    w.put(*w.adapters[1], "a b");
    for (std::size_t slow = 0; slow < 2; ++slow) {
        CAPTURE(slow);
        w.adapters[slow]->lookups.shut();
        CHECK(w.run(w.prefetch("a b")).prefix_hits == 2);
        w.adapters[slow]->lookups.open();
        w.settle();
        CHECK(w.adapters[slow]->total_locks() == 0); // what it found late is unlocked
    }
    w.close();
}
