#include "support/world.hpp"

#include <terrace/memory_adapter.hpp>

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

namespace {

/// One store at a time, and a queue for two objects.
adapter_options narrow(full_queue_policy full)
{
    adapter_options options = without_retries();
    options.stores_in_flight = 1;
    options.store_queue_bytes = 2 * object_bytes;
    options.store_queue_full = full;
    return options;
}

void check_sum(const store_status& s)
{
    CHECK(s.targeted_objects == s.queued_objects + s.in_flight_objects + s.stored_objects + s.failed_objects +
                                    s.dropped_objects + s.refused_objects + s.overtaken_objects);
}

} // namespace

TEST_CASE("store: a full queue")
{
    const auto filled = [](world& w) {
        w.l2.stores.shut();
        for (const char* word : {"a", "b", "c", "d"}) { // a is in flight, b and c are all that the queue takes
            w.write(word);
            check_sum(w.stores());
        }
    };
    SUBCASE("wait: what comes is queued, as far as L1 goes")
    {
        world w{{.l1_objects = 4, .adapter = narrow(full_queue_policy::wait)}};
        filled(w);
        CHECK(w.stores().queued_objects == 3);
        auto waiting = w.start(w.manager.reserve_write_when_free(keys("e"), w.layout, w.time->now() + 1h));
        CHECK_FALSE(waiting.done());
        w.l2.stores.open();
        w.settle();
        CHECK(waiting.take().leading() == 1);
        CHECK(words(w.l2.stored) == "a b c d");
        w.close();
    }
    SUBCASE("drop_oldest: what was queued first goes, but for what is in flight")
    {
        world w{{.adapter = narrow(full_queue_policy::drop_oldest)}};
        filled(w);
        CHECK(w.stores().queued_objects == 2);
        CHECK(w.stores().dropped_objects == 1);
        CHECK(w.l1().locked_objects == 3);
        w.l2.stores.open();
        w.settle();
        CHECK(words(w.l2.stored) == "a c d");
        CHECK(w.resident("b")); // in L1 it stays
        w.close();
    }
    SUBCASE("refuse: what comes is not queued")
    {
        world w{{.adapter = narrow(full_queue_policy::refuse)}};
        filled(w);
        CHECK(w.stores().refused_objects == 1);
        w.l2.stores.open();
        w.settle();
        CHECK(words(w.l2.stored) == "a b c");
        w.close();
    }
}

TEST_CASE("store: a batch larger than the queue is stored when nothing else waits")
{
    for (const auto full : {full_queue_policy::drop_oldest, full_queue_policy::refuse}) {
        world w{{.adapter = narrow(full)}};
        w.write("a b c d");
        CHECK(words(w.l2.stored) == "a b c d");
        w.close();
    }
}

TEST_CASE("store: a dead adapter's queue keeps to its limit, whatever the policy")
{
    adapter_options options = narrow(full_queue_policy::wait);
    options.breaker.failures = 1;
    world w{{.adapters = 2, .adapter = options}};
    w.l2.stores.shut();
    for (const char* word : {"a", "b", "c", "d", "e"})
        w.write(word);
    CHECK(w.stores().queued_objects == 4);
    w.l2.store_throws = true;
    w.l2.stores.let_one_pass(); // a: its failure opens the breaker
    w.settle();
    CHECK(w.stores().failed_objects == 1);
    CHECK(w.stores().dropped_objects == 2); // b and c
    w.write("f");
    CHECK(w.stores().dropped_objects == 3);
    CHECK(w.stores().queued_objects == 2); // e and f
    CHECK(w.l1().locked_objects == 2);
    CHECK(words(w.adapters[1]->stored) == "a b c d e f");
    w.l2.stores.open();
    w.close();
    check_sum(w.stores());
}

TEST_CASE("store: a large batch goes in calls of a window, each object larger than that alone")
{
    adapter_options options = without_retries();
    options.store_window_bytes = 2 * object_bytes;
    world w{{.adapter = options}};
    SUBCASE("two objects to a call")
    {
        w.write("a b c d e");
        CHECK(w.l2.store_calls == 3);
    }
    SUBCASE("each call lets go of its own")
    {
        w.l2.stores.shut();
        w.write("a b c d e");
        w.l2.stores.let_one_pass(); // of the last object
        w.settle();
        CHECK(w.l1().locked_objects == 4);
        w.l2.stores.open();
        w.settle();
    }
    SUBCASE("no object to less than one call")
    {
        auto lease = w.manager.reserve_write(keys("a b"), memory_layout::bytes(3 * object_bytes));
        lease.commit();
        w.settle();
        CHECK(w.l2.store_calls == 2);
        CHECK(words(w.l2.stored) == "b a");
        return w.close();
    }
    CHECK(words(w.l2.stored) == "e c d a b");
    w.close();
}

TEST_CASE("store: of a chain that goes in several calls the tail is evicted before the head")
{
    adapter_options options = without_retries();
    options.store_window_bytes = object_bytes;
    SUBCASE("in L1")
    {
        for (const char* policy : {"lru", "isolated_lru", "s3fifo"}) {
            CAPTURE(policy);
            world w{{.eviction = policy, .adapter = options}};
            w.l2.stores.shut(); // what is released at the end of its store, and not at once, is the test
            w.write("a b c d e f g h");
            w.l2.stores.open();
            w.settle();
            const auto other = w.manager.reserve_write(keys("x y z"), w.layout);
            CHECK(w.resident("a b c d e"));
        }
    }
    SUBCASE("in an adapter")
    {
        world w{{.l1_objects = 16, .adapters = 0}};
        memory_options bounded;
        bounded.capacity_bytes = 8 * object_bytes;
        (void)w.manager.add_adapter(std::make_unique<memory_adapter>(bounded), options);
        w.write("a b c d e f g h");
        w.write("x y z");
        w.manager.clear(clear_mode::unlocked);
        CHECK(w.run(w.prefetch("a b c d e f g h")).prefix_hits == 5);
        w.close();
    }
}

TEST_CASE("store: of a chain that is longer than the queue the head is stored")
{
    for (const auto full : {full_queue_policy::drop_oldest, full_queue_policy::refuse}) {
        CAPTURE(static_cast<int>(full));
        adapter_options options = narrow(full);
        options.store_window_bytes = object_bytes;
        world w{{.adapter = options}};
        w.l2.stores.shut();
        w.write("x");
        w.write("a b c d");
        CHECK(w.stores().queued_objects == 2);
        w.l2.stores.open();
        w.settle();
        CHECK(w.l2.objects.contains(key("a").to_string()));
        CHECK(w.l2.objects.contains(key("b").to_string()));
        CHECK(w.l2.objects.size() == 3);
        w.close();
    }
}

TEST_CASE("store: loads go first")
{
    adapter_options options = without_retries();
    options.stores_in_flight = 3;
    SUBCASE("beside a load the adapter works on fewer stores")
    {
        options.stores_beside_loads = 1;
    }
    SUBCASE("or on none")
    {
        options.stores_beside_loads = 0;
    }
    world w{{.adapter = options}};
    w.put("x");
    w.l2.loads.shut();
    w.l2.stores.shut();
    auto hits = w.start(w.prefetch("x"));
    for (const char* word : {"a", "b", "c", "d"})
        w.write(word);
    CHECK(w.l2.stores.waiting() == options.stores_beside_loads);
    w.l2.loads.open();
    w.settle();
    CHECK(hits.take().prefix_hits == 1);
    CHECK(w.l2.stores.waiting() == 3);
    w.l2.stores.open();
    w.settle();
    CHECK(words(w.l2.stored) == "a b c d");
    w.close();
}

TEST_CASE("store: a load that does not end keeps stores from their turn no longer than its timeout")
{
    adapter_options options = without_retries();
    options.stores_beside_loads = 0;
    options.load_timeout = 1s;
    world w{{.adapter = options}};
    w.put("x");
    w.l2.loads.shut();
    auto hits = w.start(w.prefetch("x"));
    w.write("a");
    w.pass(1s - 1ns);
    CHECK(w.l2.store_calls == 0);
    w.pass(1ns);
    CHECK(words(w.l2.stored) == "a");
    w.l2.loads.open();
    w.settle();
    w.close();
}

TEST_CASE("store: a minute of more than the adapter takes keeps to L1's limit, and reads keep their latency")
{
    // Written at 64 objects a second, stored at 16: one takes a sixteenth of a second.
    constexpr auto tick = 62'500us;
    const auto time = std::make_shared<manual_clock>();
    memory_options slow;
    slow.bandwidth_bytes_per_second = 16 * object_bytes;
    slow.clock = time;
    for (const auto full : {full_queue_policy::wait, full_queue_policy::drop_oldest, full_queue_policy::refuse}) {
        CAPTURE(static_cast<int>(full));
        asio::io_context io{1};
        const auto run_for = [&](nanoseconds duration) {
            io.restart();
            io.poll();
            time->advance(duration);
            io.restart();
            io.poll();
        };
        config cfg;
        cfg.l1.capacity_bytes = 64 * object_bytes;
        cfg.clock = time;
        storage_manager manager{io.get_executor(), cfg};
        adapter_options options;
        options.store_queue_full = full;
        options.stores_in_flight = 1;
        options.store_window_bytes = object_bytes;
        (void)manager.add_adapter(std::make_unique<memory_adapter>(slow), options);
        const auto layout = memory_layout::bytes(object_bytes);
        const auto write = [&](const std::vector<object_key>& batch) {
            auto room = manager.reserve_write(batch, layout);
            const std::size_t got = room.leading();
            room.commit();
            return got;
        };
        const auto numbered = [](const char* word, std::size_t n) { return key(word + std::to_string(n)); };

        for (std::size_t n = 0; n < 60; ++n) { // what is read later
            CHECK(write({numbered("r", n)}) == 1);
            run_for(tick);
        }
        manager.clear(clear_mode::unlocked);

        std::size_t asked = 0;
        std::size_t written = 60;
        nanoseconds slowest{0};
        for (std::size_t second = 0; second < 60; ++second) {
            std::optional<prefetch_result> hit;
            prefetch_request request{{numbered("r", second)}, layout};
            asio::co_spawn(io, manager.prefetch(std::move(request)),
                           [&](std::exception_ptr, prefetch_result result) { hit.emplace(std::move(result)); });
            for (int i = 0; i < 16; ++i) {
                std::vector<object_key> batch;
                for (int j = 0; j < 4; ++j)
                    batch.push_back(numbered("w", asked++));
                const std::size_t got = write(batch);
                written += got;
                CHECK(manager.read(std::span{batch}.first(got)).size() == got);
                run_for(tick);
                const auto status = manager.status();
                check_sum(status.store);
                CHECK(status.store.targeted_objects == written);
                CHECK(status.l1.used_bytes <= cfg.l1.capacity_bytes);
            }
            REQUIRE(hit.has_value());
            CHECK(hit->prefix_hits == 1);
            slowest = std::max(slowest, hit->latency);
        }
        // One store to end and leave its memory, one more that was in flight beside it, and the load.
        CHECK(slowest <= 3 * tick);
        CHECK(asked == 60 * 64);
        CHECK(manager.status().store.stored_objects >= 60 + 58 * 15);  // the rest of the device's time went to loads
        CHECK((written < asked) == (full == full_queue_policy::wait)); // back-pressure, where nothing is dropped
        bool closed = false;
        asio::co_spawn(io, manager.close(), [&](std::exception_ptr error) { closed = error == nullptr; });
        while (!closed)
            run_for(100ms);
        const auto left = manager.status();
        check_sum(left.store);
        CHECK(left.store.queued_objects + left.store.in_flight_objects == 0);
        CHECK(left.l1.locks == 0);
    }
}
