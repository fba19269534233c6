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
