#include "support/world.hpp"

using namespace terrace;
using namespace terrace::test;

TEST_CASE("eviction: above the high watermark the background evicts down to the low one")
{
    world w{{.l1_objects = 10, .high_watermark = 0.8, .low_watermark = 0.5}};
    w.write("a b c d e f g h"); // 80 %: not above
    CHECK(w.l1().resident_objects == 8);
    w.write("i");
    CHECK(w.l1().resident_objects == 5);
    CHECK(w.l1().evicted_objects == 4);
    CHECK(w.resident("i"));
    CHECK(w.resident("a")); // the head of its chain
    CHECK_FALSE(w.resident("h"));
    w.close();
}

TEST_CASE("eviction: it is not stopped for good by a time when everything was locked")
{
    world w{{.l1_objects = 10, .high_watermark = 0.8, .low_watermark = 0.5}};
    w.l2.stores.shut();
    w.write("a b c d e f g h i");
    CHECK(w.l1().evicted_objects == 0); // all are being stored
    w.l2.stores.open();
    w.settle();
    w.write("j");
    CHECK(w.l1().resident_objects == 5);
    w.close();
}

TEST_CASE("eviction: an object that was evicted comes back from L2")
{
    world w{{.l1_objects = 2}};
    w.write("a b");
    w.write("c d");
    CHECK_FALSE(w.resident("a"));
    auto hits = w.run(w.prefetch("a b"));
    CHECK(hits.l2_hits == 2);
    CHECK(intact(hits.lease));
    hits.lease = {};
    w.close();
}

TEST_CASE("eviction: a policy of the user's own decides")
{
    /// Evicts the newest.
    class newest_first final : public eviction_policy {
    public:
        void admit(evictable& object) noexcept override { stack_.push_back(&object); }
        void acquire(evictable& object) noexcept override { std::erase(stack_, &object); }
        void release(evictable& object) noexcept override { stack_.push_back(&object); }
        void forget(evictable& object) noexcept override { std::erase(stack_, &object); }
        evictable* victim() noexcept override { return stack_.empty() ? nullptr : stack_.back(); }

    private:
        std::vector<evictable*> stack_;
    };
    asio::io_context io{1};
    config cfg;
    cfg.l1.capacity_bytes = 2 * object_bytes;
    cfg.eviction.make_policy = [] { return std::make_unique<newest_first>(); };
    storage_manager manager{io.get_executor(), cfg};
    for (const char* word : {"a", "b", "c"})
        manager.reserve_write(keys(word), memory_layout::bytes(object_bytes)).commit();
    CHECK(manager.read(keys("a")).size() == 1);
    CHECK(manager.read(keys("b")).empty());
}

TEST_CASE("eviction: the background goes on until the low watermark, however many objects that takes")
{
    world w{{.l1_objects = 400, .high_watermark = 0.9, .low_watermark = 0.1}};
    for (int i = 0; i < 360; ++i) {
        auto lease = w.manager.reserve_write(keys(std::to_string(i)), w.layout);
        lease.commit();
    }
    w.settle();
    CHECK(w.l1().resident_objects == 360);
    w.write("last");
    CHECK(w.l1().resident_objects == 40);
    CHECK(w.resident("last"));
    w.close();
}

TEST_CASE("eviction: with s3fifo a burst of things read once leaves what is read often")
{
    for (const std::string policy : {"s3fifo", "lru"}) {
        CAPTURE(policy);
        world w{{.l1_objects = 20, .eviction = policy}};
        w.write("a b c d");
        for (int i = 0; i < 3; ++i)
            CHECK(w.run(w.prefetch("a b c d")).lease.size() == 4);
        for (int i = 0; i < 100; ++i) {
            w.write("s" + std::to_string(i));
            CHECK(w.run(w.prefetch("s" + std::to_string(i))).lease.size() == 1);
        }
        CHECK(w.resident("a b c d") == (policy == "s3fifo"));
        w.close();
    }
}

TEST_CASE("eviction: a tenant keeps no more than its quota, room or not")
{
    const auto quotas = std::make_shared<quota_table>();
    quotas->set("x", 3 * object_bytes);
    world w{{.l1_objects = 20, .eviction = "isolated_lru", .quotas = quotas}};
    w.write("h");

    SUBCASE("the tail of a chain goes before its head")
    {
        w.write("a@x b@x c@x d@x e@x");
        CHECK(w.resident("a@x b@x c@x"));
        CHECK_FALSE(w.resident("d@x"));
        CHECK(w.l1().resident_objects == 4);
    }
    SUBCASE("what is being stored passes through")
    {
        w.l2.stores.shut();
        w.write("a@x b@x c@x d@x e@x");
        CHECK(w.l1().resident_objects == 6);
        w.l2.stores.open();
        w.settle();
        CHECK(w.l1().resident_objects == 4);
        CHECK(w.l2.objects.size() == 6); // all of it is in L2
    }
    SUBCASE("what is being read stays until it is read, and is served from L2 afterwards")
    {
        w.write("a@x b@x c@x d@x e@x");
        auto hits = w.run(w.prefetch("a@x b@x c@x d@x e@x"));
        CHECK(hits.lease.size() == 5);
        CHECK(hits.l2_hits == 2);
        CHECK(intact(hits.lease));
        hits.lease = {};
        w.settle();
        CHECK(w.l1().resident_objects <= 4);
    }
    SUBCASE("of zero: nothing")
    {
        w.write("a@x");
        quotas->set("x", 0);
        w.settle();
        w.write("b@x");
        CHECK(w.l1().resident_objects == 1);
        CHECK(w.run(w.prefetch("b@x")).l2_hits == 1);
        w.settle();
        CHECK(w.l1().resident_objects == 1);
    }
    SUBCASE("what was pinned goes when its time is up")
    {
        w.write("a@x b@x c@x");
        CHECK(w.manager.pin(keys("a@x b@x c@x"), w.time->now() + std::chrono::seconds{1}).all());
        w.write("d@x e@x");
        quotas->set("x", 2 * object_bytes);
        w.settle();
        CHECK(w.l1().resident_objects == 6);
        w.pass(std::chrono::seconds{1});
        CHECK(w.l1().resident_objects == 3);
    }
    SUBCASE("lowered under use, the difference goes at once, and the rest when it is released")
    {
        w.write("a@x b@x c@x");
        auto lease = w.manager.read(keys("a@x"));
        quotas->set("x", 0);
        w.settle();
        CHECK(w.l1().resident_objects == 2);
        CHECK(intact(lease));
        lease = {};
        w.settle();
        CHECK(w.l1().resident_objects == 1);
    }
    SUBCASE("what is kept by key counts when it is finished with")
    {
        w.write("a@x b@x c@x");
        w.manager.keep(w.manager.read(keys("a@x")));
        w.write("d@x");
        CHECK(w.l1().resident_objects == 5);
        w.manager.finish_read(keys("a@x"));
        w.settle();
        CHECK(w.l1().resident_objects == 4);
        CHECK(w.resident("a@x"));
    }
    SUBCASE("raised or removed, nothing goes")
    {
        w.write("a@x b@x c@x");
        quotas->remove("x");
        w.write("d@x e@x");
        CHECK(w.l1().resident_objects == 6);
    }
    SUBCASE("and its use is told")
    {
        w.write("a@x b@x c@x d@x");
        const auto usage = w.manager.usage_by_salt();
        REQUIRE(usage.size() == 2);
        const salt_usage& x = usage[usage[0].salt == "x" ? 0 : 1];
        CHECK(x.used_bytes == 3 * object_bytes);
        CHECK(x.kept_bytes == 3 * object_bytes);
        CHECK(x.quota_bytes == 3 * object_bytes);
    }
    w.close();
}

TEST_CASE("eviction: draining a quota evicts nothing for the watermarks")
{
    const auto quotas = std::make_shared<quota_table>();
    world w{
        {.l1_objects = 10, .high_watermark = 0.8, .low_watermark = 0.2, .eviction = "isolated_lru", .quotas = quotas}};
    w.write("a b c d e@x f@x g@x");
    quotas->set("x", object_bytes);
    w.settle();
    CHECK(w.l1().resident_objects == 5);
    w.close();
}

TEST_CASE("eviction: a large quota that is taken away is drained to its end, with other work in between")
{
    const auto quotas = std::make_shared<quota_table>();
    world w{{.l1_objects = 400, .eviction = "isolated_lru", .quotas = quotas}};
    for (int i = 0; i < 300; ++i)
        w.manager.reserve_write(keys(std::to_string(i) + "@x"), w.layout).commit();
    w.settle();
    CHECK(w.l1().resident_objects == 300);
    quotas->set("x", 0);
    quotas->set("x", object_bytes); // while the first is under way
    w.io.restart();
    w.io.poll_one();
    CHECK(w.l1().resident_objects > 200); // a turn
    w.settle();
    CHECK(w.l1().resident_objects == 1);
    w.close();
}

TEST_CASE("eviction: one tenant's flood leaves what the others use")
{
    world w{{.l1_objects = 20, .eviction = "isolated_lru"}};
    w.write("a@y b@y c@y");
    for (int i = 0; i < 100; ++i)
        w.write("f" + std::to_string(i) + "@x");
    CHECK(w.resident("a@y b@y c@y"));
    w.close();
}

TEST_CASE("eviction: quotas may change after the engine has gone")
{
    const auto quotas = std::make_shared<quota_table>();
    {
        world w{{.eviction = "isolated_lru", .quotas = quotas}};
        w.write("a@x");
        w.close();
        quotas->set("x", 0); // closed: nothing is evicted any more
        w.settle();
    }
    quotas->set("x", 1);
    CHECK(quotas->find("x") == 1U);
}

TEST_CASE("eviction: an L1 smaller than one object evicts nothing for it")
{
    for (const std::string policy : {"lru", "s3fifo", "isolated_lru"}) {
        CAPTURE(policy);
        world w{{.l1_objects = 2, .eviction = policy}};
        w.write("a b");
        const auto larger = w.manager.reserve_write(keys("c"), memory_layout::bytes(3 * object_bytes));
        CHECK(larger.ok(0) == l1_error::larger_than_l1);
        CHECK(w.resident("a b"));
        w.close();
    }
}

TEST_CASE("eviction: while everything is locked nothing goes, and the reservation says so")
{
    for (const std::string policy : {"lru", "s3fifo", "isolated_lru", "none"}) {
        CAPTURE(policy);
        world w{{.l1_objects = 3, .eviction = policy}};
        w.write("a b c");
        auto lease = w.manager.read(keys("a b c"));
        CHECK(w.manager.reserve_write(keys("d"), w.layout).ok(0) == l1_error::out_of_memory);
        CHECK(intact(lease));
        lease = {};
        w.write("d");
        CHECK(w.resident("d") == (policy != "none"));
        w.close();
    }
}
