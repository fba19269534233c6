#include "l1/l1_cache.hpp"
#include "support/world.hpp"

#include <map>

using namespace terrace;
using namespace terrace::test;

namespace {

using on_shortage = l1_cache::on_shortage;

std::string word(const object_key& k)
{
    return words({k.to_string()});
}

/// An L1 of `objects` objects, without an engine around it.
struct bare_l1 {
    explicit bare_l1(std::size_t objects, std::unique_ptr<eviction_policy> policy = eviction_policy::make("lru"))
    {
        l1_config cfg;
        cfg.capacity_bytes = objects * object_bytes;
        cfg.huge_pages = huge_page_mode::off;
        cache = std::make_shared<l1_cache>(cfg, std::move(policy), cfg.capacity_bytes);
    }
    ~bare_l1() { cache->check(); }

    void write(std::string_view objects)
    {
        cache->reserve_write(keys(objects), layout, write_mode::new_only, on_shortage::keep_leading)->commit();
    }
    /// Which of the objects are resident. Disturbs their order: the last question of a test.
    std::string resident(std::string_view objects)
    {
        std::string found;
        for (const object_key& k : keys(objects))
            if (!cache->read(std::span{&k, 1}, 1).empty())
                found += (found.empty() ? "" : " ") + word(k);
        return found;
    }

    memory_layout layout = memory_layout::bytes(object_bytes);
    std::shared_ptr<l1_cache> cache;
};

/// Counts the wishes for each object, and evicts nothing.
class wish_counter final : public eviction_policy {
public:
    explicit wish_counter(std::map<std::string, int>& wishes) : wishes_{wishes} {}
    void admit(evictable& object) noexcept override { wishes_[word(object.key)] = 0; }
    void acquire(evictable&) noexcept override {}
    void release(evictable&) noexcept override {}
    void forget(evictable&) noexcept override {}
    void touch(evictable& object) noexcept override { ++wishes_[word(object.key)]; }
    evictable* victim() noexcept override { return nullptr; }

private:
    std::map<std::string, int>& wishes_;
};

using wishes_for = std::map<std::string, int>;

} // namespace

TEST_CASE("L1 eviction: a caller that reads or pins an object wants it, a store that shares it does not")
{
    std::map<std::string, int> wishes;
    bare_l1 l1{8, std::make_unique<wish_counter>(wishes)};
    l1.write("a b");
    const std::vector<layout_run> layouts{{3, l1.layout}};
    CHECK(wishes == wishes_for{{"a", 0}, {"b", 0}});

    SUBCASE("read, each object once however many readers")
    {
        const auto lease = l1.cache->read(keys("a b c"), 3);
        CHECK(wishes == wishes_for{{"a", 1}, {"b", 1}});
    }
    SUBCASE("pinned for a request, once")
    {
        auto pins = l1.cache->pin(keys("a c b"), layouts, 2);
        l1.cache->pin(pins, keys("a c b"), layouts, bitmap{3, true}); // what it has is not looked for again
        CHECK(wishes == wishes_for{{"a", 1}, {"b", 1}});
        const auto streamed = l1.cache->share(pins, 1);
        CHECK(wishes["a"] == 1);
    }
    SUBCASE("shared by a store, not at all")
    {
        const auto lease = l1.cache->read(keys("a b"), 1);
        const auto shared = l1.cache->share(lease, bitmap{2, true});
        CHECK(shared.size() == 2);
        CHECK(wishes == wishes_for{{"a", 1}, {"b", 1}});
    }
    SUBCASE("touched by name")
    {
        const bitmap resident = l1.cache->touch(keys("a b x"));
        CHECK(resident == bitmap::first(2, 3));
        CHECK(wishes == wishes_for{{"a", 1}, {"b", 1}});
    }
    SUBCASE("loaded, only where a copy was there already")
    {
        auto pins = l1.cache->pin(keys("x y"), layouts, 1);
        auto staged = l1.cache->stage_for_load(keys("x y"), layouts, on_shortage::keep_leading);
        l1.write("y"); // somebody computed it meanwhile
        l1_cache::landing how;
        how.loaded = how.retained = bitmap{2, true};
        how.claims = {{&pins, 0}, {&pins, 1}};
        how.ends = {1, 2};
        l1.cache->land(std::move(*staged), how);
        CHECK(pins.present().all());
        CHECK(wishes == wishes_for{{"a", 0}, {"b", 0}, {"x", 0}, {"y", 1}});
    }
}

TEST_CASE("L1 eviction: what was touched goes after what was not, and the tail of a chain before its head")
{
    bare_l1 l1{4};
    l1.write("a b c d");
    CHECK(l1.cache->touch(keys("a b")).all());
    SUBCASE("the one that nobody wanted, from its tail")
    {
        l1.write("e");
        CHECK(l1.resident("a b c d") == "a b c");
    }
    SUBCASE("then the other, from its tail")
    {
        l1.write("e f g");
        CHECK(l1.resident("a b c d") == "a");
    }
    SUBCASE("locked, it was used when it is released")
    {
        auto lease = l1.cache->read(keys("c d"), 1);
        l1.cache->touch(keys("c d"));
        l1.write("e f");
        lease = {};
        l1.write("g h");
        CHECK(l1.resident("a b c d") == "c d");
    }
}

TEST_CASE("L1 eviction: what is overdue is told once, on whatever makes it so, and goes before the rest")
{
    struct counting_listener : l1_listener {
        int overdue = 0;
        void on_commit(read_lease, write_mode) noexcept override {}
        void on_wanted(read_lease, write_mode) noexcept override {}
        void on_room() noexcept override {}
        void on_pressure() noexcept override {}
        void on_overdue() noexcept override { ++overdue; }
    };
    const auto quotas = std::make_shared<quota_table>();
    quotas->set("x", 2 * object_bytes);
    bare_l1 l1{8, eviction_policy::make("isolated_lru", quotas)};
    const auto listener = std::make_shared<counting_listener>();
    l1.cache->listen(listener);
    l1.write("h a@x b@x");
    CHECK(listener->overdue == 0);

    SUBCASE("a commit")
    {
        l1.write("c@x d@x");
        l1.write("e@x");
        CHECK(listener->overdue == 1);
        SUBCASE("drained in turns of bounded size")
        {
            CHECK_FALSE(l1.cache->evict_overdue(2));
            CHECK(l1.cache->evict_overdue(2));
            CHECK(l1.cache->status().evicted_objects == 3);
            l1.write("f@x");
            CHECK(listener->overdue == 2); // said again
        }
        SUBCASE("by a reservation on its way to room, before anything else")
        {
            l1.write("i j k l m"); // 11 objects; three of x are too many
        }
        CHECK(l1.resident("h") == "h");
    }
    SUBCASE("a release")
    {
        auto lease = l1.cache->read(keys("a@x b@x"), 1);
        l1.write("c@x");
        CHECK(listener->overdue == 0);
        lease = {};
        CHECK(listener->overdue == 1);
        CHECK(l1.cache->evict_overdue(10));
        CHECK(l1.resident("a@x b@x c@x") == "a@x b@x"); // c was used before they were released
    }
    SUBCASE("a load")
    {
        const std::vector<layout_run> layouts{{1, l1.layout}};
        auto staged = l1.cache->stage_for_load(keys("c@x"), layouts, on_shortage::keep_leading);
        l1_cache::landing how;
        how.loaded = how.retained = bitmap{1, true};
        how.keep_unclaimed = true;
        how.ends = {0};
        l1.cache->land(std::move(*staged), how);
        CHECK(listener->overdue == 1);
    }
}
