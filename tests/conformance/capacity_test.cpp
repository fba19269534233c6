// What an adapter does when it is full. The numbers are the least that any policy and any format has to do.

#include "conformance/world.hpp"

#include <algorithm>
#include <random>

using namespace terrace;
using namespace terrace::conformance;

namespace {

constexpr std::size_t object_bytes = 64 * 1024;
constexpr std::size_t object_count = 8;

/// An adapter with room for object_count objects, or a little more.
class full_world : public world {
public:
    explicit full_world(const subject& s) : world{s, s.capacity_for(object_count, object_bytes)}
    {
        REQUIRE(status().capacity_bytes == capacity_bytes);
    }

    /// More than fit.
    [[nodiscard]] std::uint64_t too_many() const { return 4 * (capacity_bytes / object_bytes + object_count); }

    void check_bounds() const
    {
        const adapter_status now = status();
        CHECK(now.used_bytes <= now.capacity_bytes);
        CHECK(now.used_bytes >= now.objects * about.charge(object_bytes));
    }

    bool put_one(std::uint64_t n) { return put(keys({n}), object_bytes).all(); }

    /// Stores objects from `first` on until one more would have something evicted; how many it has then.
    std::uint64_t fill(std::uint64_t first = 0)
    {
        std::uint64_t n = first;
        while (status().evicted_objects == 0) {
            REQUIRE(n - first < too_many());
            CHECK(put_one(n++));
        }
        return n;
    }
};

} // namespace

TEST_CASE("never more than its capacity, it takes every new object and has it at once")
{
    FOR_EACH_BOUNDED_ADAPTER(adapter)
    {
        full_world w{adapter};
        const std::uint64_t stores = w.too_many();
        for (std::uint64_t n = 0; n < stores; ++n) {
            CHECK(w.put_one(n));
            CHECK(w.get(keys({n}), object_bytes).all());
            w.check_bounds();
        }
        const adapter_status status = w.status();
        CHECK(status.evicted_objects > 0);
        CHECK(status.evicted_objects + status.objects == stores);
        CHECK(status.failed_stores == 0);
        const bitmap left = w.find(key_range(0, stores));
        CHECK(left.count() == status.objects);
        CHECK(w.get(key_range(0, stores), object_bytes) == left);
        CHECK(w.list().size() == status.objects);
        check_at_rest(w);
    }
}

TEST_CASE("what was as large as the capacity promised is there together")
{
    FOR_EACH_BOUNDED_ADAPTER(adapter)
    {
        full_world w{adapter};
        SUBCASE("stored one by one")
        {
            for (std::uint64_t n = 0; n < object_count; ++n)
                CHECK(w.put_one(n));
        }
        SUBCASE("stored in one batch")
        {
            CHECK(w.put(key_range(0, object_count), object_bytes).all());
        }
        CHECK(w.get(key_range(0, object_count), object_bytes).all());
        CHECK(w.status().evicted_objects == 0);
        w.check_bounds();
    }
}

TEST_CASE("a batch larger than the capacity leaves what fits")
{
    FOR_EACH_BOUNDED_ADAPTER(adapter)
    {
        full_world w{adapter};
        const std::uint64_t stores = w.too_many();
        w.put(key_range(0, stores), object_bytes);
        w.check_bounds();
        const bitmap left = w.find(key_range(0, stores));
        CHECK(left.any());
        CHECK(left.count() == w.status().objects);
        CHECK(w.get(key_range(0, stores), object_bytes) == left);
        check_at_rest(w);
    }
}

TEST_CASE("what is asked for again and again outlives what nobody wants")
{
    FOR_EACH_BOUNDED_ADAPTER(adapter)
    {
        full_world w{adapter};
        w.put(key_range(0, object_count), object_bytes);
        for (int i = 0; i < 3; ++i) // s3fifo keeps what was wanted twice before its turn came
            CHECK(w.get(keys({0}), object_bytes).all());
        for (std::uint64_t n = 100; n < 100 + w.too_many(); ++n) {
            CHECK(w.get(keys({0}), object_bytes).all());
            CHECK(w.put_one(n));
        }
        CHECK(w.find(key_range(1, object_count - 1)).none());
    }
}

TEST_CASE("what is locked stays, whatever comes")
{
    FOR_EACH_BOUNDED_ADAPTER(adapter)
    {
        full_world w{adapter};
        const auto held = keys({1, 3, 5});
        w.put(key_range(0, object_count), object_bytes);
        CHECK(w.lookup(held).all());
        for (std::uint64_t n = 100; n < 100 + w.too_many(); ++n) {
            CHECK(w.put_one(n));
            w.check_bounds();
        }
        CHECK(w.get(held, object_bytes).all());
        CHECK(w.status().locked_objects == held.size());

        w.unlock(held); // and then it goes like all others
        for (std::uint64_t n = 1000; n < 1000 + w.too_many(); ++n)
            CHECK(w.put_one(n));
        CHECK(w.find(held).none());
        check_at_rest(w);
    }
}

TEST_CASE("with everything locked a store fails, is counted, and changes nothing")
{
    FOR_EACH_BOUNDED_ADAPTER(adapter)
    {
        full_world w{adapter};
        std::uint64_t n = 0;
        while (w.put_one(n)) {
            CHECK(w.lookup(keys({n})).all());
            REQUIRE(++n < w.too_many());
        }
        CHECK(n >= object_count);
        adapter_status status = w.status();
        CHECK(status.failed_stores == 1);
        CHECK(!status.problem.empty());
        CHECK(status.objects == n);
        CHECK(status.locked_objects == n);
        CHECK(status.evicted_objects == 0);
        CHECK(w.find(keys({n})).none());
        CHECK(w.get(key_range(0, n), object_bytes).all());

        CHECK(w.put(key_range(n, 3), object_bytes).none());
        CHECK(w.status().failed_stores == 4);
        CHECK(w.put(keys({0}), object_bytes, 0, store_mode::if_absent).all()); // takes no room

        w.unlock(key_range(0, n));
        CHECK(w.put_one(n));
        CHECK(w.status().failed_stores == 4);
        check_at_rest(w);
    }
}

TEST_CASE("an object larger than the capacity is refused, and the others stay")
{
    FOR_EACH_BOUNDED_ADAPTER(adapter)
    {
        full_world w{adapter};
        w.put(key_range(0, object_count), object_bytes);
        CHECK(w.put(keys({100}), w.capacity_bytes + 1).none());
        CHECK(w.find(keys({100})).none());
        CHECK(w.get(key_range(0, object_count), object_bytes).all());
        CHECK(w.status().failed_stores == 1);
        CHECK(w.status().evicted_objects == 0);

        CHECK(w.put(keys({3}), w.capacity_bytes + 1).none()); // nor is the old one lost for it
        CHECK(w.get(keys({3}), object_bytes).all());
        w.check_bounds();
        check_at_rest(w);
    }
}

TEST_CASE("what is erased makes room")
{
    FOR_EACH_BOUNDED_ADAPTER(adapter)
    {
        full_world w{adapter};
        w.put(key_range(0, object_count), object_bytes);
        for (std::uint64_t n = object_count; n < w.too_many(); ++n) {
            w.erase(keys({n - object_count}));
            CHECK(w.put_one(n));
            w.check_bounds();
        }
        // A log may have to evict to get at the room.
        CHECK(w.status().objects + w.status().evicted_objects == object_count);
    }
}

TEST_CASE("stores that meet at the capacity stay within it together")
{
    FOR_EACH_BOUNDED_ADAPTER(adapter)
    {
        full_world w{adapter};
        const auto keep_storing = [&w](std::uint64_t first) -> asio::awaitable<void> {
            for (std::uint64_t n = first; n < first + 20; n += 4) {
                const payloads objects{key_range(n, 4), object_bytes};
                const auto items = objects.to_store();
                co_await w.adapter->store(items);
                w.check_bounds();
            }
        };
        std::vector<call<bool>> running;
        for (const std::uint64_t first : {0U, 100U, 200U, 300U})
            running.push_back(w.start(keep_storing(first)));
        w.finish();
        for (auto& r : running)
            r.take();
        w.check_bounds();
        std::size_t left = 0;
        for (const std::uint64_t first : {0U, 100U, 200U, 300U})
            left += w.get(key_range(first, 20), object_bytes).count();
        CHECK(left == w.status().objects);
        check_at_rest(w);
    }
}

TEST_CASE("what is stored again while it is evicted is there, whole, if it is listed")
{
    FOR_EACH_BOUNDED_ADAPTER(adapter)
    {
        full_world w{adapter};
        // Of a few more keys than there is room for: most stores have one evicted that another is about to store.
        const auto keep_storing = [&w](std::uint64_t seed) -> asio::awaitable<void> {
            std::mt19937_64 random{seed};
            for (int round = 0; round < 20; ++round) {
                const payloads objects{key_range(random() % object_count, object_count / 2), object_bytes};
                const auto items = objects.to_store();
                co_await w.adapter->store(items);
            }
        };
        std::vector<call<bool>> running;
        for (std::uint64_t seed = 0; seed < 8; ++seed)
            running.push_back(w.start(keep_storing(seed)));
        w.finish();
        for (auto& r : running)
            r.take();
        w.check_bounds();
        const auto listed = w.list();
        CHECK(listed.size() == w.status().objects);
        CHECK(w.get(listed, object_bytes).all());
        CHECK(w.status().corrupt_objects == 0);
        check_at_rest(w);
    }
}

TEST_CASE("a demotion_source names what would be evicted, locked, so that it can be moved first")
{
    FOR_EACH_BOUNDED_ADAPTER(adapter)
    {
        full_world w{adapter};
        auto* source = dynamic_cast<demotion_source*>(w.adapter.get());
        if (source == nullptr)
            return; // evicts on its own
        const auto victims_of = [&](std::uint64_t objects) {
            return w.run(source->lock_victims(objects, objects * object_bytes));
        };

        CHECK(victims_of(1).empty());
        check_at_rest(w);
        const std::uint64_t stored = w.fill();
        const adapter_status before = w.status();

        SUBCASE("they load under the layout that comes with them, and their going is room enough")
        {
            const auto victims = victims_of(3);
            REQUIRE(!victims.empty());
            CHECK(w.status().locked_objects == victims.size());
            std::vector<object_key> names;
            for (const stored_object& victim : victims) {
                CHECK(victim.layout == memory_layout::bytes(object_bytes));
                CHECK(w.get({victim.key}, victim.layout).all());
                names.push_back(victim.key);
            }
            CHECK(w.erase(names).none());
            w.unlock(names);
            CHECK(w.erase(names).all());
            CHECK(victims_of(3).empty());
            CHECK(w.put(key_range(1000, 3), object_bytes).all());
            CHECK(w.status().evicted_objects == before.evicted_objects);
            CHECK(w.status().objects == before.objects - victims.size() + 3);
        }
        SUBCASE("left alone, as many are evicted")
        {
            auto victims = victims_of(1);
            for (std::uint64_t n = stored; victims.empty(); victims = victims_of(1)) { // what evicts many has room
                REQUIRE(n < w.too_many());
                CHECK(w.put_one(n++));
                CHECK(w.status().evicted_objects == before.evicted_objects);
            }
            std::vector<object_key> names;
            for (const stored_object& victim : victims)
                names.push_back(victim.key);
            w.unlock(names);
            CHECK(w.put(key_range(1000, 1), object_bytes).all());
            CHECK(w.status().evicted_objects - before.evicted_objects == names.size());
        }
        SUBCASE("not what is locked already")
        {
            const bitmap there = w.lookup(key_range(0, stored));
            CHECK(victims_of(1).empty());
            CHECK(w.status().locked_objects == there.count());
            w.unlock(key_range(0, stored));
        }
        SUBCASE("none for what never fits")
        {
            CHECK(w.run(source->lock_victims(1, w.capacity_bytes + 1)).empty());
        }
        check_at_rest(w);
        w.check_bounds();
    }
}
