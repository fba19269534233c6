// What a file adapter evicts, and that its files go with it.

#include "integration/file_world.hpp"

namespace fs = std::filesystem;
using namespace terrace;
using namespace terrace::test;

TEST_CASE("file adapter: a new one in the directory")
{
    file_world<> w;
    w.put(keys({1, 3}));
    SUBCASE("evicts what was written first")
    {
        std::uint64_t older = 3;
        SUBCASE("whichever it was") {}
        SUBCASE("or the other one")
        {
            older = 1;
        }
        const std::uint64_t newer = 4 - older;
        const auto now = fs::file_time_type::clock::now();
        fs::last_write_time(w.file_of(key(older)), now - std::chrono::hours{2});
        fs::last_write_time(w.file_of(key(newer)), now - std::chrono::hours{1});
        w.options.capacity_bytes = 2 * file_bytes;
        w.open();
        CHECK(w.put(keys({4})).all());
        CHECK(w.lookup(keys({older, newer, 4})) == bits({false, true, true}));
    }
    SUBCASE("trims it to a smaller capacity")
    {
        w.options.capacity_bytes = file_bytes;
        w.open();
        CHECK(w.status().objects == 1);
        CHECK(w.status().evicted_objects == 1);
        CHECK(w.files().size() == 1);
    }
}

TEST_CASE("file adapter: full, it evicts what was used least recently")
{
    file_world<> w{3 * file_bytes};
    CHECK(w.status().capacity_bytes == 3 * file_bytes);
    for (std::uint64_t n : {1U, 2U, 3U})
        CHECK(w.put(keys({n})).all());

    SUBCASE("by the order of storing")
    {
        w.put(keys({4}));
        CHECK(w.lookup(keys({1, 2, 3, 4})) == bits({false, true, true, true}));
    }
    SUBCASE("by loads since")
    {
        w.get(keys({1}));
        w.put(keys({4}));
        CHECK(w.lookup(keys({1, 2, 3, 4})) == bits({true, false, true, true}));
    }
    SUBCASE("by lookups since")
    {
        w.lookup(keys({1}));
        w.unlock(keys({1}));
        w.put(keys({4}));
        CHECK(w.lookup(keys({1, 2, 3, 4})) == bits({true, false, true, true}));
    }
    SUBCASE("never what is locked")
    {
        CHECK(w.lookup(keys({1})).all());
        w.put(keys({4}));
        CHECK(w.lookup(keys({1, 2, 3, 4})) == bits({true, false, true, true}));
    }
    CHECK(w.status().evicted_objects == 1);
    CHECK(w.status().objects == 3);
    CHECK(w.status().used_bytes == 3 * file_bytes);
    CHECK(w.files().size() == 3);
}

TEST_CASE("file adapter: of a batch that is a prefix, the tail is evicted before the head")
{
    file_world<> w{3 * file_bytes};
    w.put(keys({1, 2, 3}));
    SUBCASE("as it was stored") {}
    SUBCASE("as it was loaded")
    {
        w.get(keys({1, 2, 3}));
    }
    SUBCASE("as it was unlocked")
    {
        w.lookup(keys({1, 2, 3}));
        w.unlock(keys({1, 2, 3}));
    }
    w.put(keys({4}));
    CHECK(w.lookup(keys({1, 2, 3})) == bits({true, true, false}));
}

TEST_CASE("file adapter: full, its policy decides")
{
    file_world<> w{3 * file_bytes, 1};
    SUBCASE("s3fifo: wanted twice, an object stays while others pass")
    {
        w.options.eviction = "s3fifo";
        w.open();
        w.put(keys({1}));
        w.get(keys({1}));
        w.get(keys({1}));
        for (std::uint64_t n = 2; n < 10; ++n)
            w.put(keys({n}));
        CHECK(w.lookup(keys({1, 2, 9})) == bits({true, false, true}));
    }
    SUBCASE("s3fifo: storing and looking up are no use")
    {
        w.options.eviction = "s3fifo";
        w.open();
        w.put(keys({1}));
        for (int i = 0; i < 3; ++i) {
            w.lookup(keys({1}));
            w.unlock(keys({1}));
        }
        w.get(keys({1})); // once, which is not enough
        w.put(keys({2}));
        w.put(keys({3}));
        w.put(keys({4}));
        CHECK(w.lookup(keys({1, 2, 3, 4})) == bits({false, true, true, true}));
    }
    SUBCASE("none: what was first stays, and the store fails")
    {
        w.options.eviction = "none";
        w.open();
        for (std::uint64_t n : {1U, 2U, 3U})
            CHECK(w.put(keys({n})).all());
        CHECK(w.put(keys({4})).none());
        CHECK(w.status().evicted_objects == 0);
        CHECK(w.status().failed_stores == 1);
    }
    SUBCASE("isolated_lru: what a tenant has over its quota goes at the next store, with its files")
    {
        const auto quotas = std::make_shared<quota_table>();
        const auto of_x = [](std::uint64_t n) { return object_key{"model", chunk_hash::from_number(n), 0, 0, "x"}; };
        w.options.eviction = "isolated_lru";
        w.options.quotas = quotas;
        w.open();
        w.put({of_x(1), of_x(2)});
        quotas->set("x", file_bytes);
        CHECK(w.files().size() == 2);
        w.put(keys({3}));
        CHECK(w.lookup({of_x(1), of_x(2), key(3)}) == bits({true, false, true}));
        CHECK(w.files().size() == 2);
        CHECK(w.status().evicted_objects == 1);
        CHECK(w.put(keys({4}), 4 * file_bytes).none()); // never has room
    }
}

TEST_CASE("file adapter: what a store has evicted before it turned out to have no room is removed from the disk")
{
    const auto quotas = std::make_shared<quota_table>();
    file_world<> w{3 * file_bytes};
    w.options.eviction = "isolated_lru";
    w.options.quotas = quotas;
    w.open();
    w.put({object_key{"model", chunk_hash::from_number(1), 0, 0, "x"}});
    quotas->set("x", 0);
    CHECK(w.put(keys({2}), 3 * file_bytes).none()); // larger than the capacity
    CHECK(w.files().empty());
    CHECK(w.status().objects == 0);
}

TEST_CASE("file adapter: a store without room is refused, and evicts nothing in vain")
{
    file_world<> w{2 * file_bytes};
    w.put(keys({1, 2}));
    w.lookup(keys({1}));

    SUBCASE("when it is larger than the capacity")
    {
        CHECK(w.put(keys({3}), 2 * file_bytes).none());
    }
    SUBCASE("when locked objects leave too little")
    {
        w.lookup(keys({2}));
        CHECK(w.put(keys({3})).none());
        w.unlock(keys({2}));
    }
    const adapter_status status = w.status();
    CHECK(status.failed_stores == 1);
    CHECK(status.problem.find("no room") != std::string::npos);
    CHECK(status.health == adapter_health::healthy); // nothing is wrong with the disk
    CHECK(status.objects == 2);
    CHECK(status.evicted_objects == 0);
    CHECK(status.used_bytes == 2 * file_bytes);

    w.unlock(keys({1}));
    CHECK(w.put(keys({3})).all());
}

TEST_CASE("file adapter: a batch larger than the capacity is stored all the same, each item in its turn")
{
    file_world<> w{5 * file_bytes, 4};
    std::vector<object_key> many;
    for (std::uint64_t n = 0; n < 50; ++n)
        many.push_back(key(n));
    CHECK(w.put(many).all());
    CHECK(w.status().objects == 5);
    CHECK(w.status().evicted_objects == 45);
    CHECK(w.status().failed_stores == 0);
    CHECK(w.files().size() == 5);
}

TEST_CASE("file adapter: stores, evictions and erasures at once leave index and disk in agreement")
{
    file_world<> w{10 * file_bytes, 4};
    const auto churn = [&](std::uint64_t first) -> asio::awaitable<void> {
        std::vector<memory> payloads;
        std::vector<store_item> items;
        std::vector<object_key> some;
        for (std::uint64_t n = first; n < first + 8; ++n) {
            const object_key k = key(n % 20);
            fill(payloads.emplace_back(payload_bytes).bytes(), seed_of(k));
            items.emplace_back(k, memory_layout::bytes(payload_bytes), payloads.back().bytes());
            some.push_back(k);
        }
        for (int i = 0; i < 60; ++i) {
            co_await w.adapter->store(items);
            co_await w.adapter->lookup_and_lock(some);
            co_await w.adapter->unlock(some);
            if (i % 4 == 0)
                co_await w.adapter->erase(some);
        }
    };
    for (std::uint64_t first : {0U, 5U, 10U, 15U})
        asio::co_spawn(w.context, churn(first), [](std::exception_ptr e) {
            if (e)
                std::rethrow_exception(e);
        });
    w.context.run();
    const adapter_status status = w.status();
    CHECK(status.locked_objects == 0);
    CHECK(status.corrupt_objects == 0);
    CHECK(status.objects == w.files().size());
    CHECK(status.used_bytes == w.files().size() * file_bytes);
    CHECK(status.evicted_objects > 0);
    std::vector<object_key> all;
    for (std::uint64_t n = 0; n < 20; ++n)
        all.push_back(key(n));
    CHECK(w.get(all).count() == status.objects);
}

TEST_CASE("file adapter: what it would evict is not what is locked or damaged")
{
    file_world<> w{3 * file_bytes};
    w.put({key(1)});
    w.put({key(2)});
    w.put({key(3)});
    const auto victims = [&](std::uint64_t objects) {
        return w.run(w.adapter->lock_victims(objects, objects * payload_bytes));
    };
    SUBCASE("not what is locked")
    {
        w.lookup({key(1)});
        const auto one = victims(1);
        REQUIRE(one.size() == 1);
        CHECK(one[0].key == key(2));
    }
    SUBCASE("not what is damaged")
    {
        fs::resize_file(w.file_of(key(1)), 100);
        const auto two = victims(2);
        REQUIRE(two.size() == 1);
        CHECK(two[0].key == key(2));
        CHECK(w.status().locked_objects == 1);
    }
    SUBCASE("none where there is no limit")
    {
        file_world<> endless;
        endless.put({key(1)});
        CHECK(endless.run(endless.adapter->lock_victims(1, 1 << 30)).empty());
    }
}
