#include <terrace/object_index.hpp>

#include <doctest/doctest.h>
#include <map>
#include <random>
#include <set>
#include <stdexcept>

using terrace::chunk_hash;
using terrace::key_page;
using terrace::list_cursor;
using terrace::object_index;
using terrace::object_key;

namespace {

object_key key(std::uint64_t n)
{
    return object_key{"model", chunk_hash::from_number(n)};
}

std::vector<object_key> keys(std::initializer_list<std::uint64_t> numbers)
{
    std::vector<object_key> made;
    for (std::uint64_t n : numbers)
        made.push_back(key(n));
    return made;
}

/// Adds an object in room of its own; what was evicted for it.
std::vector<object_key> add(object_index& index, std::uint64_t n, std::uint64_t bytes)
{
    const auto evicted = index.make_room(bytes);
    REQUIRE(evicted.has_value());
    index.insert(key(n), bytes);
    return *evicted;
}

} // namespace

TEST_CASE("object_index: what was inserted is found with its size, and counts")
{
    object_index index;
    CHECK(!index.find(key(1)));
    add(index, 1, 100);
    add(index, 2, 50);
    CHECK(index.find(key(1)) == 100U);
    CHECK(index.objects() == 2);
    CHECK(index.used_bytes() == 150);

    SUBCASE("replaced, it counts once")
    {
        add(index, 1, 70);
        CHECK(index.find(key(1)) == 70U);
        CHECK(index.objects() == 2);
        CHECK(index.used_bytes() == 120);
    }
    SUBCASE("erased, it is gone with its bytes")
    {
        CHECK(index.erase(key(1)));
        CHECK(!index.erase(key(1)));
        CHECK(!index.find(key(1)));
        CHECK(index.objects() == 1);
        CHECK(index.used_bytes() == 50);
    }
    SUBCASE("restored again, its size is corrected")
    {
        index.restore(key(1), 30);
        CHECK(index.objects() == 2);
        CHECK(index.used_bytes() == 80);
    }
}

TEST_CASE("object_index: room that is taken counts as used until it is given back")
{
    object_index index{100};
    CHECK(index.make_room(60).has_value());
    CHECK(index.used_bytes() == 60);
    CHECK(!index.make_room(41));
    CHECK(index.used_bytes() == 60);
    index.give_back(60);
    CHECK(index.used_bytes() == 0);
    CHECK(index.make_room(100).has_value());
}

TEST_CASE("object_index: what was used least recently goes first")
{
    object_index index{30};
    add(index, 1, 10);
    add(index, 2, 10);
    add(index, 3, 10);

    SUBCASE("in the order of insertion")
    {
        CHECK(add(index, 4, 20) == keys({1, 2}));
    }
    SUBCASE("but not what was touched since")
    {
        index.touch(key(1));
        CHECK(add(index, 4, 10) == keys({2}));
    }
    SUBCASE("nor what was locked and unlocked since")
    {
        index.lock(key(1));
        index.unlock(key(1));
        CHECK(add(index, 4, 10) == keys({2}));
    }
    SUBCASE("nor what was replaced since; the old one's bytes are free only then")
    {
        CHECK(index.make_room(10) == keys({1}));
        index.insert(key(2), 10);
        CHECK(index.used_bytes() == 20);
        CHECK(add(index, 5, 20) == keys({3}));
    }
    SUBCASE("nothing more than has to")
    {
        CHECK(add(index, 4, 11) == keys({1, 2}));
    }
    SUBCASE("and what is larger than everything evicts nothing")
    {
        CHECK(!index.make_room(31));
        CHECK(index.objects() == 3);
    }
    SUBCASE("what was restored past the capacity goes as well")
    {
        index.restore(key(4), 40);
        CHECK(index.used_bytes() == 70);
        CHECK(index.make_room(0) == keys({1, 2, 3, 4}));
        CHECK(index.used_bytes() == 0);
    }
}

TEST_CASE("object_index: a locked object is not evicted")
{
    object_index index{30};
    add(index, 1, 10);
    add(index, 2, 10);
    add(index, 3, 10);
    CHECK(index.lock(key(1)));
    CHECK(index.lock(key(1)));
    CHECK(!index.lock(key(9)));
    CHECK(index.locked_objects() == 1);

    CHECK(!index.make_room(21));
    CHECK(index.objects() == 3);
    CHECK(add(index, 4, 20) == keys({2, 3}));

    SUBCASE("until each lock is taken back")
    {
        index.unlock(key(1));
        CHECK(index.locked(key(1)));
        CHECK(!index.make_room(30));
        index.unlock(key(1));
        CHECK(!index.locked(key(1)));
        CHECK(index.locked_objects() == 0);
        CHECK(index.make_room(30) == keys({4, 1})); // its last unlock was a use
    }
    SUBCASE("or all at once")
    {
        index.unlock_all();
        CHECK(index.locked_objects() == 0);
        CHECK(index.make_room(30) == keys({4, 1}));
    }
    SUBCASE("and unlocking what is not locked changes nothing")
    {
        index.unlock(key(4));
        index.unlock(key(9));
        CHECK(index.locked_objects() == 1);
        CHECK(index.make_room(20) == keys({4}));
    }
}

TEST_CASE("object_index: locks stay with the key when its object goes")
{
    object_index index{20};
    add(index, 1, 10);
    index.lock(key(1));
    CHECK(index.erase(key(1)));
    CHECK(index.used_bytes() == 0);
    CHECK(index.objects() == 0);
    CHECK(!index.lock(key(1)));
    CHECK(index.locked_objects() == 1);

    SUBCASE("so the old holder cannot take away a new one's lock")
    {
        add(index, 1, 10);
        index.lock(key(1));   // the new holder
        index.unlock(key(1)); // the old one
        CHECK(index.locked(key(1)));
        CHECK(!index.make_room(20));
        index.unlock(key(1));
        CHECK(index.make_room(20) == keys({1}));
    }
    SUBCASE("and the last unlock forgets the key")
    {
        index.unlock(key(1));
        CHECK(index.locked_objects() == 0);
        CHECK(index.make_room(20)->empty());
    }
    SUBCASE("or unlock_all() does")
    {
        index.unlock_all();
        CHECK(index.locked_objects() == 0);
        CHECK(!index.locked(key(1)));
    }
}

TEST_CASE("object_index: listing shows every key once, in pages")
{
    object_index index;
    for (std::uint64_t n = 0; n < 10; ++n)
        add(index, n, 1);

    key_page page = index.list(list_cursor{"", 4});
    CHECK(page.keys == keys({0, 1, 2, 3}));
    REQUIRE(page.next.has_value());
    CHECK(page.next->max_keys == 4);

    SUBCASE("to the last page, which has no next")
    {
        page = index.list(*page.next);
        CHECK(page.keys == keys({4, 5, 6, 7}));
        page = index.list(*page.next);
        CHECK(page.keys == keys({8, 9}));
        CHECK(!page.next);
    }
    SUBCASE("whatever is used, replaced, erased and added meanwhile")
    {
        index.touch(key(9));
        add(index, 5, 2);
        index.erase(key(3)); // the cursor stands on it
        index.erase(key(4));
        add(index, 10, 1);
        page = index.list(list_cursor{page.next->after, 100});
        CHECK(page.keys == keys({5, 6, 7, 8, 9, 10}));
        CHECK(!page.next);
    }
    SUBCASE("a page of exactly the rest is the last one")
    {
        page = index.list(list_cursor{page.next->after, 6});
        CHECK(page.keys.size() == 6);
        CHECK(!page.next);
    }
    SUBCASE("a cursor that is not from here, or a page of nothing, is refused")
    {
        CHECK_THROWS_WITH_AS(static_cast<void>(index.list(list_cursor{"12x"})),
                             "list cursor '12x': expected one from key_page::next", std::invalid_argument);
        CHECK_THROWS_AS(static_cast<void>(index.list(list_cursor{"", 0})), std::invalid_argument);
    }
}

TEST_CASE("object_index: its numbers agree with a plain model over random calls")
{
    const std::uint64_t capacity = 200;
    const unsigned seed = std::random_device{}();
    INFO("seed ", seed);
    std::mt19937 random{seed};
    const auto below = [&](unsigned n) { return std::uniform_int_distribution<unsigned>{0, n - 1}(random); };

    object_index index{capacity};
    std::map<std::uint64_t, std::uint64_t> sizes;
    std::map<std::uint64_t, unsigned> locks;
    for (int step = 0; step < 20'000; ++step) {
        const std::uint64_t n = below(30);
        switch (below(5)) {
        case 0: {
            const std::uint64_t bytes = 1 + below(60);
            const auto evicted = index.make_room(bytes);
            if (!evicted)
                break;
            for (const object_key& gone : *evicted)
                CHECK(std::erase_if(
                          sizes, [&](const auto& s) { return key(s.first) == gone && !locks.contains(s.first); }) == 1);
            if (below(4) == 0) {
                index.give_back(bytes);
            } else {
                index.insert(key(n), bytes);
                sizes[n] = bytes;
            }
            break;
        }
        case 1:
            if (index.lock(key(n)))
                ++locks[n];
            break;
        case 2:
        case 3:
            index.unlock(key(n));
            if (locks.contains(n) && --locks[n] == 0)
                locks.erase(n);
            break;
        default:
            CHECK(index.erase(key(n)) == (sizes.erase(n) == 1));
        }
        std::uint64_t used = 0;
        for (const auto& [number, bytes] : sizes) {
            REQUIRE(index.find(key(number)) == bytes);
            used += bytes;
        }
        REQUIRE(index.used_bytes() == used);
        REQUIRE(used <= capacity);
        REQUIRE(index.objects() == sizes.size());
        REQUIRE(index.locked_objects() == locks.size());
    }
}
