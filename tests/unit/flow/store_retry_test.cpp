#include "support/world.hpp"

#include <terrace/memory_adapter.hpp>

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

TEST_CASE("store: what fails is tried again, each time after twice as long, less up to a half by chance")
{
    adapter_options options = without_breaker();
    options.store_retries.backoff = 100ms;
    options.store_retries.max_backoff = 150ms;
    world w{{.adapter = options}};
    w.l2.store_throws = true;
    w.write("a");
    CHECK(w.l2.store_calls == 1);
    for (const auto longest : {100ms, 150ms, 150ms, 150ms}) { // five attempts
        const int calls = w.l2.store_calls;
        auto waited = 0ms;
        for (; w.l2.store_calls == calls && waited <= longest; waited += 1ms)
            w.pass(1ms);
        CHECK(w.l2.store_calls == calls + 1);
        CHECK(waited >= longest / 2);
        CHECK(waited <= longest);
    }
    CHECK(w.stores().failed_objects == 1);
    CHECK(w.stores().retried_objects == 4);
    w.pass(1h);
    CHECK(w.l2.store_calls == 5);
    CHECK(w.l1().locks == 0);
    w.close();
}

TEST_CASE("store: retries come at times that follow from the seed")
{
    const auto attempts = [](std::uint64_t seed) {
        std::vector<clock::time_point> times;
        world w{{.adapter = without_breaker(), .random_seed = seed}};
        w.l2.store_throws = true;
        w.write("a");
        for (int calls = 1; calls < 5;) {
            w.pass(1ms);
            if (w.l2.store_calls != calls) {
                calls = w.l2.store_calls;
                times.push_back(w.time->now());
            }
        }
        w.close();
        return times;
    };
    CHECK(attempts(1) == attempts(1));
    CHECK(attempts(1) != attempts(2));
}

TEST_CASE("store: it is given up on after its time, however many attempts it may have")
{
    adapter_options options = without_breaker();
    options.store_retries.attempts = 1000;
    options.store_retries.max_backoff = 100ms;
    options.store_retries.give_up_after = 1s;
    world w{{.adapter = options}};
    w.l2.store_throws = true;
    w.write("a");
    for (int i = 0; i < 9; ++i)
        w.pass(100ms);
    CHECK(w.stores().failed_objects == 0);
    for (int i = 0; i < 3; ++i)
        w.pass(100ms);
    CHECK(w.stores().failed_objects == 1);
    w.close();
}

TEST_CASE("store: what fails after its adapter has left is not tried again")
{
    world w{{.adapters = 2, .adapter = without_breaker()}};
    w.l2.stores.shut();
    w.write("a");
    auto removing = w.start(w.manager.remove_adapter(w.ids[0]));
    w.l2.store_throws = true;
    w.l2.stores.open();
    w.settle();
    CHECK(removing.done());
    CHECK(w.stores().dropped_objects == 1);
    CHECK(w.l1().locks == 0);
    w.pass(1h);
    CHECK(w.l2.store_calls == 1);
    w.close();
}

TEST_CASE("store: retries that are due together go in the order in which they were queued")
{
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        world w{{.adapter = without_breaker(), .random_seed = seed}};
        w.l2.store_throws = true;
        for (const char* word : {"a", "b", "c"}) {
            w.write(word);
            w.pass(1ms);
        }
        w.l2.store_throws = false;
        w.l2.stored.clear();
        w.pass(1s); // in one step: all of them are due at its end
        CHECK(words(w.l2.stored) == "a b c");
        w.close();
    }
}

TEST_CASE("store: of a batch only what failed is tried again, and the rest is let go of")
{
    world w{{.adapter = without_breaker()}};
    w.l2.unstorable = {key("b").to_string()};
    w.write("a b c");
    CHECK(words(w.l2.stored) == "a c");
    CHECK(w.l1().locked_objects == 1);
    CHECK(w.stores().stored_objects == 2);
    CHECK(w.stores().queued_objects == 1);
    CHECK(w.stores().queued_bytes == object_bytes);
    w.l2.unstorable.clear();
    w.pass(100ms);
    CHECK(words(w.l2.stored) == "a c b");
    CHECK(w.l1().locks == 0);
    CHECK(w.stores().failed_objects == 0);
    w.close();
}

TEST_CASE("store: a retry holds up nothing that comes after it")
{
    adapter_options options = without_breaker();
    options.stores_in_flight = 1;
    world w{{.adapter = options}};
    w.l2.unstorable = {key("a").to_string()};
    w.write("a");
    w.write("b");
    CHECK(words(w.l2.stored) == "b");
    w.close();
    CHECK(w.stores().dropped_objects == 1);
}

TEST_CASE("store: while the breaker is open the queue waits, in order, and goes on when the adapter is back")
{
    adapter_options options;
    options.breaker.failures = 1;
    options.breaker.cool_down = 1s;
    options.store_queue_bytes = 8 * object_bytes;
    options.store_retries.give_up_after = 10s;
    world w{{.adapter = options}};
    w.l2.store_throws = true;
    w.write("a");
    w.write("b");
    w.write("c");
    CHECK(w.l2.store_calls == 1);
    CHECK(w.stores().queued_objects == 3);
    SUBCASE("the first is the probe")
    {
        w.l2.store_throws = false;
        w.pass(1s - 1ns);
        CHECK(w.l2.store_calls == 1);
        w.pass(1ns);
        CHECK(words(w.l2.stored) == "a b c");
        CHECK(w.stores().failed_objects == 0);
    }
    SUBCASE("it gives up on what has waited too long")
    {
        w.l2.store_throws = false;
        w.l2.stores.shut(); // the probe hangs
        w.pass(10s - 1ns);
        CHECK(w.stores().failed_objects == 0);
        w.pass(1ns);
        CHECK(w.stores().failed_objects == 2);
        CHECK(w.l1().locked_objects == 1); // the probe's
        w.l2.stores.open();
        w.settle();
        CHECK(words(w.l2.stored) == "a");
    }
    CHECK(w.l1().locks == 0);
    w.close();
}

TEST_CASE("store: what could not be stored is offered again when it is wanted")
{
    world w{{.adapters = 2}};
    w.l2.store_throws = true;
    SUBCASE("read")
    {
        w.write("a b");
        CHECK(w.stores().failed_objects == 2);
        w.l2.store_throws = false;
        (void)w.manager.read(keys("a"));
        w.settle();
    }
    SUBCASE("prefetched")
    {
        w.write("a b");
        w.l2.store_throws = false;
        (void)w.run(w.prefetch("a"));
        w.settle();
    }
    CHECK(words(w.l2.stored) == "a");
    CHECK(w.l2.replaced.empty());
    CHECK(w.stores().wanted_objects == 1);
    (void)w.manager.read(keys("a"));
    w.settle();
    CHECK(w.stores().wanted_objects == 1); // once
    CHECK(w.l1().locks == 0);
    w.close();
}

TEST_CASE("store: second_touch stores what is read from L1 after it was written, and nothing else")
{
    world w{{.store_policy = "second_touch"}};
    w.write("a b c");
    CHECK(w.l2.store_calls == 0);
    CHECK(w.stores().declined_objects == 3);
    CHECK(w.l1().locks == 0);
    SUBCASE("by a read")
    {
        auto held = w.manager.read(keys("a b"));
        w.settle();
        CHECK(words(w.l2.stored) == "a b");
    }
    SUBCASE("by a prefetch")
    {
        (void)w.run(w.prefetch("a b x"));
        w.settle();
        CHECK(words(w.l2.stored) == "a b");
    }
    SUBCASE("by being written again")
    {
        w.manager.erase(keys("a b"));
        w.write("a b");
        CHECK(words(w.l2.stored) == "a b");
    }
    SUBCASE("erased meanwhile, it is stored all the same: a reader had it")
    {
        auto held = w.manager.read(keys("a b"));
        w.manager.erase(keys("a b"));
        w.settle();
        CHECK(words(w.l2.stored) == "a b");
    }
    CHECK(w.stores().targeted_objects == 2);
    w.close();
}

TEST_CASE("store: what a policy has declined for good does not come before it again")
{
    struct declining : store_policy {
        [[nodiscard]] std::string_view name() const noexcept override { return "declining"; }
        [[nodiscard]] std::vector<bitmap> select_targets(const store_candidates& candidates) override
        {
            ++asked;
            return std::vector<bitmap>(candidates.adapters, bitmap{candidates.keys.size()});
        }
        int asked = 0;
    };
    const auto policy = std::make_shared<declining>();
    world w{{.own_store_policy = policy}};
    w.write("a");
    (void)w.manager.read(keys("a"));
    w.settle();
    CHECK(policy->asked == 1);
    CHECK(w.stores().declined_objects == 1);
    w.close();
}

TEST_CASE("store: what was written as new is left as it is where it is stored, what was written over replaces it")
{
    world w;
    w.put("a b");
    w.write("a");
    CHECK(words(w.l2.replaced) == "");
    auto lease = w.manager.reserve_write(keys("a"), w.layout, write_mode::update);
    lease.commit();
    w.settle();
    CHECK(words(w.l2.replaced) == "a");
    lease = w.manager.reserve_write(keys("b"), w.layout, write_mode::all);
    lease.commit();
    w.settle();
    CHECK(words(w.l2.replaced) == "a b");
    w.close();
}

TEST_CASE("store: a policy that throws, or answers another question, costs its batch the stores")
{
    struct faulty : store_policy {
        bool throws = false;
        std::size_t bits = 0;
        std::size_t bitmaps = 1;
        std::size_t deletions = 0; // too many of them
        [[nodiscard]] std::string_view name() const noexcept override { return "faulty"; }
        [[nodiscard]] std::vector<bitmap> select_targets(const store_candidates& candidates) override
        {
            if (throws)
                throw std::runtime_error("scripted: policy");
            return std::vector<bitmap>(bitmaps, bitmap{bits != 0 ? bits : candidates.keys.size(), true});
        }
        [[nodiscard]] bitmap select_l1_deletions(std::span<const object_key> names, const bitmap&) const override
        {
            return bitmap{names.size() + deletions, deletions != 0};
        }
    };
    const auto policy = std::make_shared<faulty>();
    world w{{.own_store_policy = policy}};
    SUBCASE("it throws")
    {
        policy->throws = true;
    }
    SUBCASE("bitmaps of another size")
    {
        policy->bits = 3;
    }
    SUBCASE("bitmaps for other adapters")
    {
        policy->bitmaps = 2;
    }
    bool stored = false;
    SUBCASE("deletions of another size, which cost nothing")
    {
        policy->deletions = 1;
        stored = true;
    }
    w.write("a b");
    CHECK(w.stores().policy_errors == 1);
    CHECK(w.l2.store_calls == (stored ? 1 : 0));
    CHECK(w.resident("a b"));
    CHECK(w.l1().locks == 0);
    *policy = {};
    w.l2.stored.clear();
    w.write("c");
    CHECK(words(w.l2.stored) == "c");
    w.close();
}

TEST_CASE("store: a policy that throws when it is asked later costs no stores")
{
    class throws_later final : public store_policy {
    public:
        [[nodiscard]] std::string_view name() const noexcept override { return "throws_later"; }
        [[nodiscard]] std::vector<bitmap> select_targets(const store_candidates& candidates) override
        {
            return std::vector<bitmap>(candidates.adapters, bitmap{candidates.keys.size(), true});
        }
        [[nodiscard]] bitmap select_l1_deletions(std::span<const object_key>, const bitmap&) const override
        {
            throw std::runtime_error("scripted: policy");
        }
        [[nodiscard]] std::optional<std::size_t> select_demotion(std::size_t, std::size_t) const override
        {
            throw std::runtime_error("scripted: policy");
        }
    };
    adapter_options options = without_breaker();
    options.stores_in_flight = 1;
    world w{{.own_store_policy = std::make_shared<throws_later>(), .adapter = options}};
    memory_options bounded; // so that it is asked where what that evicts moves to
    bounded.capacity_bytes = 2 * object_bytes;
    (void)w.manager.add_adapter(std::make_unique<memory_adapter>(bounded), options);
    w.l2.stores.shut();
    for (const char* word : {"a", "b", "c"})
        w.write(word);
    w.l2.stores.open();
    w.run(w.manager.flush());
    CHECK(words(w.l2.stored) == "a b c");
    CHECK(w.stores().stored_objects == 6);
    CHECK(w.stores().policy_errors >= 6);
    CHECK(w.manager.status().internal_errors == 0);
    CHECK(w.resident("a b c"));
    CHECK(w.l1().locks == 0);
    w.close();
}

TEST_CASE("store: flush does not wait for an adapter that has missed its timeout")
{
    adapter_options options = without_breaker();
    options.store_timeout = 1s;
    world w{{.adapter = options}};
    w.l2.stores.shut();
    w.write("a");
    auto flushed = w.start(w.manager.flush());
    w.pass(1s - 1ns);
    CHECK_FALSE(flushed.done());
    w.pass(1ns);
    CHECK(flushed.done());
    CHECK(w.l1().locked_objects == 1); // the adapter may still read it
    w.l2.stores.open();
    w.settle();
    w.close();
}

TEST_CASE("store: a call that does not end keeps its objects, and not the others from their turn")
{
    adapter_options options = without_breaker();
    options.stores_in_flight = 1;
    options.store_timeout = 1s;
    world w{{.adapter = options}};
    w.l2.stores.shut();
    w.write("a");
    w.write("b");
    auto flushed = w.start(w.manager.flush());
    CHECK(w.l2.stores.waiting() == 1);
    w.pass(1s);
    CHECK(w.l2.stores.waiting() == 2);
    CHECK_FALSE(flushed.done());
    w.pass(1s);
    CHECK(flushed.done());
    CHECK(w.l1().locked_objects == 2);
    w.l2.stores.open();
    w.settle();
    CHECK(words(w.l2.stored) == "a b");
    w.close();
}
