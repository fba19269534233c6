#include "base/key_table.hpp"

#include <algorithm>
#include <doctest/doctest.h>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <vector>

using terrace::chunk_hash;
using terrace::key_table;
using terrace::object_key;

namespace {

struct keyed {
    explicit keyed(const object_key& k) : key{k} {}
    object_key key;
};
using keyed_table = key_table<keyed>;

object_key numbered_key(std::uint64_t n)
{
    return object_key{"m", chunk_hash::from_number(n)};
}

} // namespace

TEST_CASE("key_table: holds what a map holds, while it grows and shrinks")
{
    keyed_table table;
    std::map<std::uint64_t, std::unique_ptr<keyed>> model;
    std::mt19937_64 random{1};
    for (int step = 0; step < 40'000; ++step) {
        const std::uint64_t n = random() % 12'000; // several growths, most of them met while half done
        auto& slot = model[n];
        if (slot == nullptr) {
            slot = std::make_unique<keyed>(numbered_key(n));
            table.insert(*slot);
        } else if (random() % 4 == 0) {
            table.erase(*slot);
            model.erase(n);
        }
        const auto probe = random() % 12'000;
        const auto there = model.find(probe);
        REQUIRE(table.find(numbered_key(probe)) == (there == model.end() ? nullptr : there->second.get()));
    }
    REQUIRE(table.size() == model.size());
    REQUIRE(model.size() > 8'000);
    for (const auto& [n, object] : model)
        REQUIRE(table.find(object->key) == object.get());
}

TEST_CASE("key_table: a batch of lookups gives what one after the other gives, up to where it is stopped")
{
    keyed_table table;
    std::vector<std::unique_ptr<keyed>> objects;
    std::vector<object_key> asked;
    for (std::uint64_t n = 0; n < 100; ++n) {
        asked.push_back(numbered_key(n));
        if (n % 3 == 0) {
            objects.push_back(std::make_unique<keyed>(asked.back()));
            table.insert(*objects.back());
        }
    }
    for (const std::size_t batch : {0U, 1U, 8U, 15U, 16U, 17U, 100U}) {
        std::size_t next = 0;
        table.find_each(std::span{asked}.first(batch), [&](std::size_t i, const keyed* found) {
            CHECK(i == next++);
            CHECK(found == table.find(asked[i]));
            return true;
        });
        CHECK(next == batch);
    }
    std::size_t looked_at = 0;
    table.find_each(asked, [&](std::size_t i, const keyed*) { return ++looked_at, i != 40; });
    CHECK(looked_at == 41);
    SUBCASE("also if the table changes on the way")
    {
        table.find_each(asked, [&](std::size_t i, const keyed*) {
            if (i == 0) // of the objects that have been fetched already
                table.erase(*objects[3]);
            CHECK((i != 9 || table.find(asked[9]) == nullptr));
            return true;
        });
    }
}

TEST_CASE("key_table: keys that all want the same place are found, in whatever order they come and go")
{
    // All have their home in the first of the 256 lines that a table begins with, and one in 2^7 the same mark.
    std::vector<std::unique_ptr<keyed>> objects;
    for (std::uint64_t n = 0; objects.size() < 600; ++n)
        if (const object_key key = numbered_key(n); key.hash_code() % 256 == 0)
            objects.push_back(std::make_unique<keyed>(key));
    keyed_table table;
    for (const auto& object : objects) { // 86 lines full: more have passed the first by than it can count
        table.insert(*object);
        REQUIRE(table.find(object->key) == object.get());
        REQUIRE(table.find(objects[std::min<std::size_t>(7, table.size() - 1)]->key) != nullptr);
    }
    for (const auto& object : objects)
        REQUIRE(table.find(object->key) == object.get());

    std::mt19937_64 random{1};
    std::ranges::shuffle(objects, random);
    const auto half = objects.size() / 2;
    for (std::size_t i = 0; i < half; ++i) {
        table.erase(*objects[i]);
        REQUIRE(std::ranges::all_of(std::span{objects}.subspan(half),
                                    [&](const auto& object) { return table.find(object->key) == object.get(); }));
    }
    for (std::size_t i = 0; i < objects.size(); ++i)
        REQUIRE(table.find(objects[i]->key) == (i < half ? nullptr : objects[i].get()));
    for (std::size_t i = 0; i < half; ++i)
        table.insert(*objects[i]);
    for (const auto& object : objects)
        REQUIRE(table.find(object->key) == object.get());
    CHECK(table.size() == objects.size());
}

TEST_CASE("key_table: what has been reserved goes in, however many at once")
{
    keyed_table table;
    std::vector<std::unique_ptr<keyed>> objects;
    table.reserve(20'000); // many times what it begins with
    for (std::uint64_t n = 0; n < 20'000; ++n) {
        objects.push_back(std::make_unique<keyed>(numbered_key(n)));
        table.insert(*objects.back());
    }
    table.reserve(100'000); // in the middle of a growth
    for (const auto& object : objects)
        REQUIRE(table.find(object->key) == object.get());
}

TEST_CASE("key_table: a walk sees each object once, half way through a growth too, and may take it out")
{
    keyed_table table;
    std::vector<std::unique_ptr<keyed>> objects;
    for (std::uint64_t n = 0; n < 1500; ++n) { // 256 lines until 1408 objects: the growth has moved some of them
        objects.push_back(std::make_unique<keyed>(numbered_key(n)));
        table.insert(*objects.back());
    }
    std::map<const keyed*, int> seen;
    table.for_each([&](keyed& object) {
        ++seen[&object];
        if (object.key == objects[500]->key)
            table.erase(object);
    });
    CHECK(seen.size() == 1500);
    CHECK(std::ranges::all_of(seen, [](const auto& s) { return s.second == 1; }));
    CHECK(table.size() == 1499);
    CHECK(table.find(objects[500]->key) == nullptr);
}
