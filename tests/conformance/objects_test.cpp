// What is stored is found and loaded, and nothing else is.

#include "conformance/world.hpp"

#include <algorithm>
#include <array>

using namespace terrace;
using namespace terrace::conformance;

TEST_CASE("an empty store has nothing")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        CHECK(w.lookup(keys({1, 2})) == bits("00"));
        CHECK(w.get(keys({1, 2})) == bits("00"));
        CHECK(w.erase(keys({1, 2})) == bits("00"));
        CHECK(w.list().empty());
        const adapter_status status = w.status();
        CHECK(status.health == adapter_health::healthy);
        CHECK(status.problem.empty());
        CHECK(status.objects == 0);
        CHECK(status.used_bytes == 0);
        CHECK(status.corrupt_objects == 0); // a miss is no damage
        check_at_rest(w);
    }
}

TEST_CASE("what was stored is found and loads, and each bit answers for its item")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        CHECK(w.put(keys({1, 2, 3})) == bits("111"));
        CHECK(w.find(keys({4, 3, 5, 1, 6, 2})) == bits("010101"));
        CHECK(w.get(keys({4, 3, 5, 1, 6, 2})) == bits("010101"));
        CHECK(w.erase(keys({4, 3})) == bits("01"));
        CHECK(w.find(keys({1, 2, 3})) == bits("110"));
        CHECK(w.get(keys({3, 2, 1})) == bits("011"));
        CHECK(w.status().objects == 2);
        CHECK(w.status().corrupt_objects == 0);
        check_at_rest(w);
    }
}

TEST_CASE("a load needs no lookup before it")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(keys({1}));
        CHECK(w.get(keys({1})).all());
        check_at_rest(w);
    }
}

TEST_CASE("batches of nothing are answered with nothing")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(keys({1}));
        CHECK(w.lookup({}).size() == 0);
        CHECK(w.get({}).size() == 0);
        CHECK(w.put({}).size() == 0);
        CHECK(w.erase({}).size() == 0);
        w.unlock({});
        CHECK(w.status().objects == 1);
        check_at_rest(w);
    }
}

TEST_CASE("a batch of 300 is answered in its order")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        std::vector<object_key> even;
        for (std::uint64_t n = 0; n < 300; n += 2)
            even.push_back(key(n));
        CHECK(w.put(even).all());

        std::vector<object_key> all = key_range(0, 300);
        std::ranges::reverse(all);
        bitmap expected{300};
        for (std::size_t i = 0; i < 300; ++i)
            expected.set(i, (299 - i) % 2 == 0);
        CHECK(w.find(all) == expected);
        CHECK(w.get(all) == expected);
        CHECK(w.erase(all) == expected);
        CHECK(w.find(all).none());
        CHECK(w.status().objects == 0);

        CHECK(w.put(all).all());
        CHECK(w.get(all).all());
        CHECK(w.status().objects == 300);
        check_at_rest(w);
    }
}

TEST_CASE("objects of any size come back, alone and in one batch")
{
    constexpr std::array<std::size_t, 8> sizes{1, 511, 512, 4095, 4096, 4097, 1 << 20, (8 << 20) + 1};
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        std::uint64_t charged = 0;
        SUBCASE("alone")
        {
            for (std::size_t i = 0; i < sizes.size(); ++i) {
                CAPTURE(sizes.at(i));
                CHECK(w.put(keys({i}), sizes.at(i)).all());
                CHECK(w.get(keys({i}), sizes.at(i)).all());
                charged += adapter.charge(sizes.at(i));
            }
        }
        SUBCASE("in one batch")
        {
            std::vector<buffer> contents;
            std::vector<store_item> stores;
            std::vector<memory_layout> layouts;
            for (std::size_t i = 0; i < sizes.size(); ++i) {
                layouts.push_back(memory_layout::bytes(sizes.at(i)));
                contents.push_back(content(key(i), sizes.at(i)));
                stores.emplace_back(key(i), layouts.back(), contents.back());
                charged += adapter.charge(sizes.at(i));
            }
            CHECK(w.run(w.adapter->store(stores)).all());

            payloads buffers{key_range(0, sizes.size()), layouts};
            const auto loads = buffers.to_load();
            CHECK(w.run(w.adapter->load(loads)).all());
            for (std::size_t i = 0; i < sizes.size(); ++i)
                CHECK(buffers.holds(i));
        }
        CHECK(w.status().objects == sizes.size());
        CHECK(w.status().used_bytes == charged);
        check_at_rest(w);
    }
}

TEST_CASE("keys that differ in one field only are different keys")
{
    const auto hash = chunk_hash::from_number(1);
    const std::array<std::byte, 32> ones = [] {
        std::array<std::byte, 32> filled{};
        filled.fill(std::byte{0xFF});
        return filled;
    }();
    const std::array<std::byte, 9> longer{{{}, {}, {}, {}, {}, {}, {}, std::byte{1}, {}}};
    const std::vector<object_key> all{
        object_key{"model", hash},
        object_key{"Model", hash},
        object_key{"org/model", hash},
        object_key{"org%2fmodel", hash},
        object_key{"..", hash},
        object_key{"~", hash},
        object_key{"modèle {x}:\"*?\"|<>\\ ", hash},
        object_key{std::string(255, 'm'), hash},
        object_key{std::string(254, 'm'), hash},
        object_key{std::string(255, '/'), hash, UINT32_MAX, UINT16_MAX, std::string(128, '%')},
        object_key{std::string(255, '/'), hash, UINT32_MAX, UINT16_MAX, std::string(127, '%')},
        object_key{"model", hash, 1},
        object_key{"model", hash, UINT32_MAX},
        object_key{"model", hash, 0, 1},
        object_key{"model", hash, 0, UINT16_MAX},
        object_key{"model", hash, 0, 0, "salt"},
        object_key{"model", hash, 0, 0, "SALT"},
        object_key{"model", hash, 0, 0, " "},
        object_key{"model", hash, 0, 0, "."},
        object_key{"model", hash, 0, 0, "%2e*{}[]~:\"'\xC3\xA9"},
        object_key{"model", chunk_hash::from_number(2)},
        object_key{"model", chunk_hash::from_number(1ULL << 63)},
        object_key{"model", chunk_hash{ones}},
        object_key{"model", chunk_hash{longer}},
        object_key{"model", chunk_hash{std::span{ones}.first(1)}},
    };
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        for (const object_key& k : all) // no two are the same to the adapter
            CHECK_MESSAGE(w.find({k}).none(), k.to_string());
        CHECK(w.put(all).all());
        CHECK(w.status().objects == all.size());
        CHECK(w.find(all).all());
        CHECK(w.get(all).all()); // each with its own content
        CHECK(std::ranges::is_permutation(w.list(), all));
        for (std::size_t i = 0; i < all.size(); i += 2)
            CHECK(w.erase({all[i]}).all());
        for (std::size_t i = 0; i < all.size(); ++i)
            CHECK_MESSAGE(w.get({all[i]}).all() == (i % 2 == 1), all[i].to_string());
    }
}

TEST_CASE("storing again replaces")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(keys({1, 2}));

        SUBCASE("bytes")
        {
            CHECK(w.put(keys({1}), default_bytes, 7).all());
            CHECK(w.get(keys({1}), default_bytes, 7).all());
        }
        SUBCASE("size and layout")
        {
            CHECK(w.put(keys({1}), 5000, 7).all());
            CHECK(w.get(keys({1}), 5000, 7).all());
            CHECK(w.put(keys({1}), 1, 8).all());
            CHECK(w.get(keys({1}), 1, 8).all());
            CHECK(w.put(keys({1}), default_bytes, 9).all());
        }
        SUBCASE("what is locked, and the locks stay")
        {
            CHECK(w.lookup(keys({1})).all());
            CHECK(w.put(keys({1}), 5000, 7).all());
            CHECK(w.get(keys({1}), 5000, 7).all());
            CHECK(w.status().locked_objects == 1);
            CHECK(w.erase(keys({1})).none());
            w.unlock(keys({1}));
            CHECK(w.put(keys({1}), default_bytes, 9).all());
        }
        SUBCASE("what was erased")
        {
            CHECK(w.erase(keys({1})).all());
            CHECK(w.put(keys({1}), default_bytes, 7).all());
            CHECK(w.get(keys({1}), default_bytes, 7).all());
        }
        CHECK(w.status().objects == 2);
        CHECK(w.status().used_bytes >= 2 * adapter.charge(default_bytes));
        CHECK(w.status().corrupt_objects == 0);
        CHECK(w.list().size() == 2);
        CHECK(w.get(keys({2})).all());
        check_at_rest(w);
    }
}

TEST_CASE("store_mode::if_absent keeps what is there under the same layout")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(keys({1, 2}));

        SUBCASE("which it counts")
        {
            CHECK(w.put(keys({3, 1}), default_bytes, 7, store_mode::if_absent) == bits("11"));
            CHECK(w.get(keys({1})).all());
            CHECK(w.get(keys({3}), default_bytes, 7).all());
            CHECK(w.status().kept_objects == 1);
            CHECK(w.status().objects == 3);
        }
        SUBCASE("and replaces it under another size")
        {
            CHECK(w.put(keys({1}), 5000, 7, store_mode::if_absent).all());
            CHECK(w.get(keys({1}), 5000, 7).all());
            CHECK(w.status().kept_objects == 0);
            CHECK(w.status().objects == 2);
        }
        SUBCASE("and replaces it under another layout of the same size")
        {
            const memory_layout other{{tensor{{10, default_bytes / 10}, dtype::i8}}};
            REQUIRE(other.size_bytes() == default_bytes);
            const auto bytes = content(key(1), default_bytes, 0);
            const std::vector<store_item> items{{key(1), other, bytes, store_mode::if_absent}};
            CHECK(w.run(w.adapter->store(items)).all());
            CHECK(w.get(keys({1}), other).all());
            CHECK(w.status().kept_objects == 0);
            CHECK(w.status().objects == 2);
        }
        CHECK(w.get(keys({2})).all());
        CHECK(w.status().corrupt_objects == 0);
        check_at_rest(w);
    }
}

TEST_CASE("what was stored under another layout is a miss, is counted and removed")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(keys({1, 2}));
        const memory_layout other_shape{{tensor{{10, default_bytes / 10}, dtype::i8}}};
        REQUIRE(other_shape.size_bytes() == default_bytes);
        memory_layout other = other_shape;

        SUBCASE("of the same size") {}
        SUBCASE("smaller")
        {
            other = memory_layout::bytes(default_bytes - 1);
        }
        SUBCASE("larger")
        {
            other = memory_layout::bytes(default_bytes + 1);
        }
        CHECK(w.get(keys({1}), other).none());
        CHECK(w.status().corrupt_objects == 1);
        CHECK(w.status().objects == 1);
        CHECK(w.find(keys({1, 2})) == bits("01"));
        CHECK(w.get(keys({1, 2})) == bits("01"));
        CHECK(w.list() == keys({2}));

        CHECK(w.put(keys({1})).all());
        CHECK(w.get(keys({1, 2})).all());
        CHECK(w.status().corrupt_objects == 1);
        check_at_rest(w);
    }
}

TEST_CASE("one bad item of a batch fails alone")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(keys({1, 2, 4}));
        std::vector<memory_layout> layouts(4, memory_layout::bytes(default_bytes));
        layouts[1] = memory_layout::bytes(2 * default_bytes);
        payloads buffers{keys({1, 2, 3, 4}), layouts};
        const auto items = buffers.to_load();
        CHECK(w.run(w.adapter->load(items)) == bits("1001"));
        CHECK(buffers.holds(0));
        CHECK(buffers.holds(3));
        CHECK(w.status().corrupt_objects == 1);
        CHECK(w.find(keys({1, 2, 3, 4})) == bits("1001"));
        check_at_rest(w);
    }
}

TEST_CASE("what was erased is gone")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(keys({1, 2, 3}));
        CHECK(w.erase(keys({1, 3})) == bits("11"));
        CHECK(w.find(keys({1, 2, 3})) == bits("010"));
        CHECK(w.get(keys({1, 2, 3})) == bits("010"));
        CHECK(w.list() == keys({2}));
        CHECK(w.erase(keys({1, 2, 3})) == bits("010"));
        CHECK(w.status().objects == 0);
        CHECK(w.list().empty());
        CHECK(w.status().evicted_objects == 0);
        CHECK(w.status().corrupt_objects == 0);
        check_at_rest(w);
    }
}
