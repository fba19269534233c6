// How an adapter ends, and what is there when its place is opened again.

#include "conformance/world.hpp"

#include <algorithm>

using namespace terrace;
using namespace terrace::conformance;

TEST_CASE("it is destroyed closed or not, used or not, with locks or without")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        SUBCASE("unused") {}
        SUBCASE("unused and closed")
        {
            w.run(w.adapter->close());
        }
        SUBCASE("used")
        {
            w.put(key_range(0, 10), 10'000);
            w.get(key_range(0, 10), 10'000);
        }
        SUBCASE("used and closed")
        {
            w.put(key_range(0, 10), 10'000);
            w.get(key_range(0, 10), 10'000);
            w.run(w.adapter->close());
        }
        SUBCASE("with locks")
        {
            w.put(key_range(0, 10));
            w.lookup(key_range(0, 10));
        }
        SUBCASE("with locks and closed")
        {
            w.put(key_range(0, 10));
            w.lookup(key_range(0, 10));
            w.run(w.adapter->close());
            check_at_rest(w);
        }
        w.adapter.reset();
        w.finish();
    }
}

TEST_CASE("a call that was made and never begun leaves nothing")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        const payloads objects{keys({1}), default_bytes};
        const auto items = objects.to_store();
        const std::vector<object_key> one = keys({1});
        {
            const auto store = w.adapter->store(items);
            const auto lookup = w.adapter->lookup_and_lock(one);
        }
        w.finish();
        CHECK(w.status().objects == 0);
        check_at_rest(w);
    }
}

TEST_CASE("an executor that goes before its calls are begun takes them with it")
{
    FOR_EACH_ADAPTER(adapter)
    {
        payloads objects{keys({1}), default_bytes};
        const auto items = objects.to_store();
        world w{adapter};
        const auto never = w.start(w.adapter->store(items));
        CHECK(!never.ended());
        // ~world: the adapter first, then the io_context with the coroutine in it
    }
}

TEST_CASE("reopened, it has what was stored")
{
    FOR_EACH_ADAPTER(adapter)
    {
        if (!adapter.persists)
            continue;
        world w{adapter};
        const object_key longest{std::string(255, '/'), chunk_hash::from_number(1), 7, 9, std::string(128, '%')};
        w.put(key_range(0, 20), 5000);
        w.put({longest}, 5000);
        w.put(keys({3}), 6000, 1);              // replaced
        CHECK(w.erase(keys({5, 6})).all());     // erased
        CHECK(w.lookup(keys({8, 9})).all());    // locked
        CHECK(w.put(keys({5}), 5000, 2).all()); // stored again
        std::vector<object_key> there = w.list();
        CHECK(there.size() == 20);

        SUBCASE("after close()")
        {
            w.run(w.adapter->close());
        }
        SUBCASE("without close()") {}
        w.reopen();

        const adapter_status status = w.status();
        CHECK(status.objects == 20);
        CHECK(status.used_bytes >= 19 * adapter.charge(5000) + adapter.charge(6000));
        CHECK(status.corrupt_objects == 0);
        check_at_rest(w); // no lock survives
        CHECK(std::ranges::is_permutation(w.list(7), there));

        const auto unchanged = keys({0, 1, 2, 4, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19});
        CHECK(w.find(unchanged).all());
        CHECK(w.get(unchanged, 5000).all());
        CHECK(w.get({longest}, 5000).all());
        CHECK(w.get(keys({3}), 6000, 1).all());
        CHECK(w.get(keys({5}), 5000, 2).all());
        CHECK(w.find(keys({6})).none());
        CHECK(w.get(keys({6}), 5000).none());
        CHECK(w.status().corrupt_objects == 0);

        CHECK(w.put(keys({6}), 5000).all());
        CHECK(w.erase(keys({0})).all());
        w.reopen();
        CHECK(w.find(keys({0, 6})) == bits("01"));
        CHECK(w.status().objects == 20);
        check_at_rest(w);
    }
}

TEST_CASE("reopened, it keeps to its capacity")
{
    FOR_EACH_BOUNDED_ADAPTER(adapter)
    {
        if (!adapter.persists)
            continue;
        constexpr std::size_t bytes = 64 * 1024;
        world w{adapter, adapter.capacity_for(8, bytes)};
        w.put(key_range(0, 8), bytes);
        w.reopen();
        CHECK(w.status().objects == 8);
        CHECK(w.get(key_range(0, 8), bytes).all());
        for (std::uint64_t n = 100; n < 100 + 4 * w.capacity_bytes / bytes; ++n) {
            CHECK(w.put(keys({n}), bytes).all());
            CHECK(w.status().used_bytes <= w.capacity_bytes);
        }
        const std::uint64_t objects = w.status().objects;
        w.reopen();
        CHECK(w.status().objects == objects);
        CHECK(w.status().used_bytes <= w.capacity_bytes);

        w.capacity_bytes = adapter.capacity_for(4, bytes); // a smaller one
        w.reopen();
        CHECK(w.put(keys({1000}), bytes).all());
        CHECK(w.get(keys({1000}), bytes).all());
        CHECK(w.status().used_bytes <= w.capacity_bytes);
    }
}
