#include "support/world.hpp"

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

TEST_CASE("health: an adapter that fails again and again is left alone, and tried again after its cool-down")
{
    world w{{.adapters = 2}};
    w.put(*w.adapters[1], "a");
    auto& bad = *w.adapters[0];
    bad.lookup_throws = true;
    const auto failures = breaker_options{}.failures;
    for (std::uint32_t i = 0; i < failures; ++i)
        (void)w.run(w.prefetch("x"));
    CHECK(w.manager.status().adapters[0].health == adapter_health::failed);
    CHECK(w.manager.status().adapters[0].breaker_trips == 1);
    CHECK(w.manager.status().adapters[1].health == adapter_health::healthy);

    const int calls = bad.lookup_calls;
    CHECK(w.run(w.prefetch("a")).prefix_hits == 1);
    CHECK(bad.lookup_calls == calls);

    w.pass(breaker_options{}.cool_down);
    SUBCASE("it fails still: one probe, and a longer pause")
    {
        (void)w.run(w.prefetch("x"));
        (void)w.run(w.prefetch("x"));
        CHECK(bad.lookup_calls == calls + 1);
        w.pass(breaker_options{}.cool_down);
        (void)w.run(w.prefetch("x"));
        CHECK(bad.lookup_calls == calls + 1);
    }
    SUBCASE("it works again: it is healthy at once")
    {
        bad.lookup_throws = false;
        w.put(bad, "b");
        CHECK(w.run(w.prefetch("b")).prefix_hits == 1);
        CHECK(w.manager.status().adapters[0].health == adapter_health::healthy);
    }
    w.close();
}

TEST_CASE("health: what hangs counts as failing, and what was cancelled does not")
{
    world w;
    w.l2.lookups.shut();
    SUBCASE("timeouts")
    {
        for (std::uint32_t i = 0; i < breaker_options{}.failures; ++i) {
            auto hits = w.start(w.prefetch("x"));
            w.pass(adapter_options{}.lookup_timeout);
            CHECK(hits.done());
        }
        CHECK(w.manager.status().adapters[0].health == adapter_health::failed);
        CHECK(w.run(w.prefetch("x")).prefix_hits == 0); // at once
    }
    SUBCASE("cancellations")
    {
        for (std::uint32_t i = 0; i < 2 * breaker_options{}.failures; ++i) {
            auto hits = w.start(w.prefetch("x"));
            hits.cancel();
            w.settle();
        }
        CHECK(w.manager.status().adapters[0].health == adapter_health::healthy);
    }
    w.l2.lookups.open();
    w.settle();
    w.close();
}

TEST_CASE("health: loads that fail stop its lookups too, stores that fail stop only stores")
{
    world w;
    w.put("a");
    SUBCASE("loads")
    {
        w.l2.load_throws = true;
        for (std::uint32_t i = 0; i < breaker_options{}.failures; ++i)
            CHECK(w.run(w.prefetch("a")).prefix_hits == 0);
        const int calls = w.l2.lookup_calls;
        CHECK(w.run(w.prefetch("a")).prefix_hits == 0);
        CHECK(w.l2.lookup_calls == calls);
    }
    SUBCASE("stores")
    {
        w.l2.store_throws = true;
        for (const char* word : {"p", "q", "r", "s", "t"})
            w.write(word);
        const int calls = w.l2.store_calls;
        w.write("u");
        CHECK(w.l2.store_calls == calls);
        CHECK(w.manager.status().store.failed_objects == 5);
        CHECK(w.manager.status().store.queued_objects == 1); // it waits for the adapter to come back
        CHECK(w.run(w.prefetch("a")).prefix_hits == 1);
        w.l2.store_throws = false;
        w.pass(breaker_options{}.cool_down);
        w.write("v");
        CHECK(words(w.l2.stored) == "u v");
    }
    w.close();
}

TEST_CASE("callers that count by key release what they hold, and no more")
{
    world w;
    w.put("a b");
    auto hits = w.run(w.manager.prefetch(w.request("a b").set_readers(2)));
    w.manager.keep(std::move(hits.lease));
    CHECK(w.l1().locks == 4);
    w.manager.finish_read(keys("a b"));
    CHECK_THROWS_AS(w.manager.finish_read(keys("b a"), 2), std::invalid_argument);
    CHECK(w.l1().locks == 2);
    w.manager.finish_read(keys("a"));
    CHECK_FALSE(w.resident("a"));
    CHECK(w.l1().locks == 1);
    w.close(); // releases the rest
}

TEST_CASE("health: an adapter whose stores hang keeps no more of L1 than its breaker lets through, and is used again")
{
    adapter_options options = without_retries();
    options.store_window_bytes = object_bytes;
    world w{{.l1_objects = 64, .adapters = 2, .adapter = options}};
    w.l2.stores.shut();
    for (int minute = 0; minute < 200; ++minute) {
        w.write("a" + std::to_string(minute) + " b" + std::to_string(minute));
        w.pass(1min);
    }
    CHECK(w.l1().locked_objects <= options.breaker.failures + options.stores_in_flight);
    CHECK(w.adapters[1]->stored.size() == 400);
    w.l2.stores.open();
    w.pass(options.breaker.max_cool_down);
    w.write("c");
    CHECK(w.l2.objects.contains(key("c").to_string()));
    CHECK(w.l1().locks == 0);
    w.close();
}

TEST_CASE("health: an adapter whose unlocks hang is not asked for more of them, until they end")
{
    world w;
    w.put("a");
    w.l2.unlocks.shut();
    for (int minute = 0; minute < 100; ++minute) {
        (void)w.run(w.prefetch("a"));
        w.pass(1min);
    }
    const auto entry = w.manager.status().adapters[0];
    CHECK(entry.in_flight == breaker_options{}.failures);
    CHECK(entry.health == adapter_health::failed);
    w.l2.unlocks.open();
    w.settle();
    CHECK(w.run(w.prefetch("a")).prefix_hits == 1);
    CHECK(w.manager.status().adapters[0].health == adapter_health::healthy);
    w.close();
}
