#include <terrace/object_index.hpp>

#include <doctest/doctest.h>
#include <map>
#include <random>
#include <set>
#include <stdexcept>

#include <terrace/eviction_policy.hpp>

using terrace::chunk_hash;
using terrace::evictable;
using terrace::eviction_policy;
using terrace::key_page;
using terrace::list_cursor;
using terrace::object_index;
using terrace::object_key;
using terrace::quota_table;

namespace {

object_key nth(std::uint64_t n)
{
    return object_key{"model", chunk_hash::from_number(n)};
}

std::vector<object_key> numbered(std::initializer_list<std::uint64_t> numbers)
{
    std::vector<object_key> made;
    for (std::uint64_t n : numbers)
        made.push_back(nth(n));
    return made;
}

/// Adds an object in room of its own; what was evicted for it.
std::vector<object_key> add(object_index& index, const object_key& k, std::uint64_t bytes)
{
    const auto room = index.make_room(bytes);
    REQUIRE(room.granted);
    index.insert(k, bytes);
    return room.evicted;
}
std::vector<object_key> add(object_index& index, std::uint64_t n, std::uint64_t bytes)
{
    return add(index, nth(n), bytes);
}

/// What has to go for `bytes` of room.
std::vector<object_key> evicted_for(object_index& index, std::uint64_t bytes)
{
    const auto room = index.make_room(bytes);
    REQUIRE(room.granted);
    return room.evicted;
}

/// No room, and nothing evicted in vain.
bool refuses(object_index& index, std::uint64_t bytes)
{
    const auto room = index.make_room(bytes);
    return !room.granted && room.evicted.empty();
}

std::vector<object_key> next(object_index& index, std::uint64_t bytes)
{
    std::vector<object_key> named;
    for (const auto& candidate : index.next_victims(bytes)) {
        CHECK(index.find(candidate.key) == candidate.bytes); // it is there
        named.push_back(candidate.key);
    }
    return named;
}

object_key key_of(std::uint64_t n, const std::string& salt)
{
    return object_key{"model", chunk_hash::from_number(n), 0, 0, salt};
}

} // namespace

TEST_CASE("object_index: what was inserted is found with its size, and counts")
{
    object_index index;
    CHECK(!index.find(nth(1)));
    add(index, 1, 100);
    add(index, 2, 50);
    CHECK(index.find(nth(1)) == 100U);
    CHECK(index.objects() == 2);
    CHECK(index.used_bytes() == 150);

    SUBCASE("replaced, it counts once")
    {
        add(index, 1, 70);
        CHECK(index.find(nth(1)) == 70U);
        CHECK(index.objects() == 2);
        CHECK(index.used_bytes() == 120);
    }
    SUBCASE("erased, it is gone with its bytes")
    {
        CHECK(index.erase(nth(1)));
        CHECK(!index.erase(nth(1)));
        CHECK(!index.find(nth(1)));
        CHECK(index.objects() == 1);
        CHECK(index.used_bytes() == 50);
    }
    SUBCASE("restored again, its size is corrected")
    {
        index.restore(nth(1), 30);
        CHECK(index.objects() == 2);
        CHECK(index.used_bytes() == 80);
    }
}

TEST_CASE("object_index: room that is taken counts as used until it is given back")
{
    object_index index{100};
    CHECK(index.make_room(60).granted);
    CHECK(index.used_bytes() == 60);
    CHECK(refuses(index, 41));
    CHECK(index.used_bytes() == 60);
    index.give_back(60);
    CHECK(index.used_bytes() == 0);
    CHECK(index.make_room(100).granted);
}

TEST_CASE("object_index: what was used least recently goes first")
{
    object_index index{30};
    add(index, 1, 10);
    add(index, 2, 10);
    add(index, 3, 10);

    SUBCASE("in the order of insertion")
    {
        CHECK(add(index, 4, 20) == numbered({1, 2}));
    }
    SUBCASE("but not what was touched since")
    {
        index.touch(nth(1));
        CHECK(add(index, 4, 10) == numbered({2}));
    }
    SUBCASE("nor what was locked and unlocked since")
    {
        index.lock(nth(1));
        index.unlock(nth(1));
        CHECK(add(index, 4, 10) == numbered({2}));
    }
    SUBCASE("nor what was replaced since; the old one's bytes are free only then")
    {
        CHECK(evicted_for(index, 10) == numbered({1}));
        index.insert(nth(2), 10);
        CHECK(index.used_bytes() == 20);
        CHECK(add(index, 5, 20) == numbered({3}));
    }
    SUBCASE("nothing more than has to")
    {
        CHECK(add(index, 4, 11) == numbered({1, 2}));
    }
    SUBCASE("and what is larger than everything evicts nothing")
    {
        CHECK(refuses(index, 31));
        CHECK(index.objects() == 3);
    }
    SUBCASE("what was restored past the capacity goes as well")
    {
        index.restore(nth(4), 40);
        CHECK(index.used_bytes() == 70);
        CHECK(evicted_for(index, 0) == numbered({1, 2, 3, 4}));
        CHECK(index.used_bytes() == 0);
    }
}

TEST_CASE("object_index: a locked object is not evicted")
{
    object_index index{30};
    add(index, 1, 10);
    add(index, 2, 10);
    add(index, 3, 10);
    CHECK(index.lock(nth(1)));
    CHECK(index.lock(nth(1)));
    CHECK(!index.lock(nth(9)));
    CHECK(index.locked_objects() == 1);

    CHECK(refuses(index, 21));
    CHECK(index.objects() == 3);
    CHECK(add(index, 4, 20) == numbered({2, 3}));

    SUBCASE("until each lock is taken back")
    {
        index.unlock(nth(1));
        CHECK(index.locked(nth(1)));
        CHECK(refuses(index, 30));
        index.unlock(nth(1));
        CHECK(!index.locked(nth(1)));
        CHECK(index.locked_objects() == 0);
        CHECK(evicted_for(index, 30) == numbered({4, 1})); // its last unlock was a use
    }
    SUBCASE("or all at once")
    {
        index.unlock_all();
        CHECK(index.locked_objects() == 0);
        CHECK(evicted_for(index, 30) == numbered({4, 1}));
    }
    SUBCASE("and unlocking what is not locked changes nothing")
    {
        index.unlock(nth(4));
        index.unlock(nth(9));
        CHECK(index.locked_objects() == 1);
        CHECK(evicted_for(index, 20) == numbered({4}));
    }
}

TEST_CASE("object_index: locks stay with the key when its object goes")
{
    object_index index{20};
    add(index, 1, 10);
    index.lock(nth(1));
    CHECK(index.erase(nth(1)));
    CHECK(index.used_bytes() == 0);
    CHECK(index.objects() == 0);
    CHECK(!index.lock(nth(1)));
    CHECK(index.locked_objects() == 1);

    SUBCASE("so the old holder cannot take away a new one's lock")
    {
        add(index, 1, 10);
        index.lock(nth(1));   // the new holder
        index.unlock(nth(1)); // the old one
        CHECK(index.locked(nth(1)));
        CHECK(refuses(index, 20));
        index.unlock(nth(1));
        CHECK(evicted_for(index, 20) == numbered({1}));
    }
    SUBCASE("and the last unlock forgets the key")
    {
        index.unlock(nth(1));
        CHECK(index.locked_objects() == 0);
        CHECK(evicted_for(index, 20).empty());
    }
    SUBCASE("or unlock_all() does")
    {
        index.unlock_all();
        CHECK(index.locked_objects() == 0);
        CHECK(!index.locked(nth(1)));
    }
}

TEST_CASE("object_index: listing shows every key once, in pages")
{
    object_index index;
    for (std::uint64_t n = 0; n < 10; ++n)
        add(index, n, 1);

    key_page page = index.list(list_cursor{"", 4});
    CHECK(page.keys == numbered({0, 1, 2, 3}));
    REQUIRE(page.next.has_value());
    CHECK(page.next->max_keys == 4);

    SUBCASE("to the last page, which has no next")
    {
        page = index.list(*page.next);
        CHECK(page.keys == numbered({4, 5, 6, 7}));
        page = index.list(*page.next);
        CHECK(page.keys == numbered({8, 9}));
        CHECK(!page.next);
    }
    SUBCASE("whatever is used, replaced, erased and added meanwhile")
    {
        index.touch(nth(9));
        add(index, 5, 2);
        index.erase(nth(3)); // the cursor stands on it
        index.erase(nth(4));
        add(index, 10, 1);
        page = index.list(list_cursor{page.next->after, 100});
        CHECK(page.keys == numbered({5, 6, 7, 8, 9, 10}));
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

TEST_CASE("object_index: its numbers agree with a plain model over random calls, whatever the policy")
{
    for (const std::string policy : {"lru", "s3fifo", "isolated_lru", "none"}) {
        CAPTURE(policy);
        const std::uint64_t capacity = 200;
        const unsigned seed = std::random_device{}();
        INFO("seed ", seed);
        std::mt19937 random{seed};
        const auto below = [&](unsigned n) { return std::uniform_int_distribution<unsigned>{0, n - 1}(random); };

        object_index index{capacity, eviction_policy::make(policy)};
        std::map<std::uint64_t, std::uint64_t> sizes;
        std::map<std::uint64_t, unsigned> locks;
        for (int step = 0; step < 10'000; ++step) {
            const std::uint64_t n = below(30);
            switch (below(8)) {
            case 0: {
                const std::uint64_t bytes = 1 + below(60);
                const auto room = index.make_room(bytes);
                for (const object_key& gone : room.evicted)
                    CHECK(std::erase_if(sizes, [&](const auto& s) {
                              return nth(s.first) == gone && !locks.contains(s.first);
                          }) == 1);
                if (!room.granted)
                    break;
                if (below(4) == 0) {
                    index.give_back(bytes);
                } else {
                    index.insert(nth(n), bytes);
                    sizes[n] = bytes;
                }
                break;
            }
            case 1:
                if (index.lock(nth(n)))
                    ++locks[n];
                break;
            case 2:
            case 3:
                index.unlock(nth(n));
                if (locks.contains(n) && --locks[n] == 0)
                    locks.erase(n);
                break;
            case 4:
                CHECK(index.erase(nth(n)) == (sizes.erase(n) == 1));
                break;
            case 5:
                index.make_latest(nth(n));
                break;
            case 6:
                for (const auto& candidate : index.next_victims(below(50)))
                    CHECK_FALSE(index.locked(candidate.key));
                break;
            default:
                index.touch(nth(n));
            }
            std::uint64_t used = 0;
            for (const auto& [number, bytes] : sizes) {
                REQUIRE(index.find(nth(number)) == bytes);
                used += bytes;
            }
            REQUIRE(index.used_bytes() == used);
            REQUIRE(used <= capacity);
            REQUIRE(index.objects() == sizes.size());
            REQUIRE(index.locked_objects() == locks.size());
        }
    }
}

// ---- policies --------------------------------------------------------------------------------------------------

TEST_CASE("object_index: its policy decides what goes")
{
    object_index index{100, eviction_policy::make("s3fifo")};
    for (std::uint64_t n = 0; n < 10; ++n)
        add(index, n, 10);
    index.touch(nth(0));
    index.touch(nth(0));
    SUBCASE("wanted twice, it stays while others pass")
    {
        for (std::uint64_t n = 10; n < 50; ++n)
            add(index, n, 10);
        CHECK(index.find(nth(0)));
    }
    SUBCASE("being locked and unlocked is no use")
    {
        for (int i = 0; i < 5; ++i) {
            index.lock(nth(1));
            index.unlock(nth(1));
        }
        CHECK(add(index, 10, 10) == numbered({1}));
    }
    SUBCASE("nor is being made the latest of a batch")
    {
        for (int i = 0; i < 5; ++i)
            index.make_latest(nth(1));
        CHECK(add(index, 10, 10) == numbered({1}));
    }
    SUBCASE("being stored again is")
    {
        index.erase(nth(9)); // room for it
        CHECK(add(index, 1, 10).empty());
        index.touch(nth(1));
        CHECK(add(index, 10, 10).empty());
        CHECK(add(index, 11, 10) == numbered({2}));
    }
}

TEST_CASE("object_index: a batch that came in any order is put in another, which is no use of it")
{
    object_index index{30};
    for (std::uint64_t n : {2U, 1U, 3U})
        add(index, n, 10);
    for (std::uint64_t n : {3U, 2U, 1U})
        index.make_latest(nth(n));
    index.make_latest(nth(9)); // not there
    CHECK(evicted_for(index, 30) == numbered({3, 2, 1}));
}

TEST_CASE("object_index: a policy that gives nothing grants no room, and room that is there is granted")
{
    object_index index{30, eviction_policy::make("none")};
    add(index, 1, 20);
    CHECK(refuses(index, 11));
    CHECK(index.used_bytes() == 20);
    CHECK(evicted_for(index, 10).empty());
}

TEST_CASE("object_index: what a policy gave before it had no more is gone, granted or not")
{
    /// Gives one object, and then no other.
    class one_victim final : public eviction_policy {
    public:
        void admit(evictable& object) noexcept override { victim_ = !given_ ? &object : nullptr; }
        void acquire(evictable&) noexcept override {}
        void release(evictable&) noexcept override {}
        void forget(evictable& object) noexcept override
        {
            given_ = given_ || victim_ == &object;
            victim_ = nullptr;
        }
        evictable* victim() noexcept override { return victim_; }

    private:
        evictable* victim_ = nullptr;
        bool given_ = false;
    };
    object_index index{30, std::make_unique<one_victim>()};
    for (std::uint64_t n = 1; n <= 3; ++n)
        add(index, n, 10);
    const auto room = index.make_room(20);
    CHECK_FALSE(room.granted);
    CHECK(room.evicted == numbered({3}));
    CHECK(index.used_bytes() == 20);
    CHECK(index.objects() == 2);
}

TEST_CASE("object_index: the next victims are named, stay, and go first")
{
    for (const std::string policy : {"lru", "s3fifo", "isolated_lru"}) {
        CAPTURE(policy);
        const auto two_named_of_four = [&] {
            auto index = std::make_unique<object_index>(40, eviction_policy::make(policy));
            for (std::uint64_t n = 1; n <= 4; ++n)
                add(*index, n, 10);
            CHECK(next(*index, 0).empty());
            CHECK(next(*index, 11) == numbered({1, 2}));
            CHECK(next(*index, 5) == numbered({1})); // named before
            CHECK(index->objects() == 4);
            CHECK(index->used_bytes() == 40);
            return index;
        };
        const auto in_order = two_named_of_four();
        CHECK(add(*in_order, 5, 10) == numbered({1}));
        CHECK(next(*in_order, 100) == numbered({2, 3, 4, 5}));
        CHECK(evicted_for(*in_order, 40) == numbered({2, 3, 4, 5}));

        const auto touched = two_named_of_four();
        touched->touch(nth(1));
        CHECK(evicted_for(*touched, 10) == numbered({2}));
        CHECK(evicted_for(*touched, 10) == numbered({3}));

        const auto locked = two_named_of_four();
        locked->lock(nth(1));
        CHECK(next(*locked, 100) == numbered({2, 3, 4}));
        CHECK(refuses(*locked, 40));
        locked->unlock(nth(1));
        CHECK(evicted_for(*locked, 40) == numbered({2, 3, 4, 1}));

        const auto replaced = two_named_of_four();
        replaced->restore(nth(1), 10); // found again, as large
        CHECK(evicted_for(*replaced, 10) == numbered({2}));
        CHECK(next(*replaced, 10) == numbered({3}));
        replaced->restore(nth(3), 5); // or smaller
        CHECK(evicted_for(*replaced, 6) == numbered({4}));
        CHECK(replaced->find(nth(3)) == 5U);

        const auto made_latest = two_named_of_four();
        made_latest->make_latest(nth(1));
        CHECK(evicted_for(*made_latest, 10) == numbered({2}));

        const auto erased = two_named_of_four();
        CHECK(erased->erase(nth(1)));
        CHECK(evicted_for(*erased, 20) == numbered({2}));
    }
}

TEST_CASE("object_index: a policy's marks are zero whenever an object is admitted")
{
    class marking_fifo final : public eviction_policy {
    public:
        void admit(evictable& object) noexcept override
        {
            CHECK(object.eviction_marks == 0);
            object.eviction_marks = 7;
            queue_.push_back(&object);
        }
        void acquire(evictable&) noexcept override {}
        void release(evictable&) noexcept override {}
        void forget(evictable& object) noexcept override { std::erase(queue_, &object); }
        evictable* victim() noexcept override { return queue_.empty() ? nullptr : queue_.front(); }

    private:
        std::vector<evictable*> queue_;
    };
    object_index index{20, std::make_unique<marking_fifo>()};
    add(index, 1, 10);
    index.restore(nth(1), 5);                // of another size
    CHECK(next(index, 10) == numbered({1})); // taken out,
    index.touch(nth(1));                     // and back
    CHECK(evicted_for(index, 20) == numbered({1}));
}

TEST_CASE("object_index: what is over a quota goes at the next store, room or not")
{
    for (const std::uint64_t capacity : {0U, 1'000U}) {
        CAPTURE(capacity);
        const auto quotas = std::make_shared<quota_table>();
        const auto two_too_many = [&] {
            quotas->remove("x");
            auto index = std::make_unique<object_index>(capacity, eviction_policy::make("isolated_lru", quotas));
            for (std::uint64_t n = 0; n < 4; ++n)
                add(*index, key_of(n, "x"), 10);
            add(*index, key_of(9, "y"), 100);
            quotas->set("x", 20);
            CHECK(index->objects() == 5);
            return index;
        };
        const auto by_age = two_too_many();
        by_age->touch(key_of(0, "x"));
        CHECK(add(*by_age, 5, 10) == std::vector{key_of(1, "x"), key_of(2, "x")});

        const auto locked = two_too_many();
        locked->lock(key_of(0, "x"));
        locked->lock(key_of(1, "x"));
        CHECK(add(*locked, 5, 10).empty());
        locked->unlock(key_of(1, "x"));
        CHECK(add(*locked, 6, 10) == std::vector{key_of(2, "x")});

        const auto granted_nothing = two_too_many();
        const auto room = granted_nothing->make_room(1'001);
        CHECK(room.granted == (capacity == 0));
        CHECK(room.evicted.size() == 2);
    }
}

TEST_CASE("object_index: what an adapter keeps with an object goes with it")
{
    object_index index{20};
    const auto held = [](const std::weak_ptr<int>& content) { return !content.expired(); };
    auto first = std::make_shared<int>(1);
    const std::weak_ptr<int> of_first = first;
    (void)index.make_room(10);
    index.insert(nth(1), 10, std::move(first));
    CHECK(index.content(nth(1)) == of_first.lock());
    CHECK(index.content(nth(2)) == nullptr);
    SUBCASE("when it is erased, be it locked")
    {
        CHECK(index.lock(nth(1)));
        CHECK(index.erase(nth(1)));
        CHECK(index.content(nth(1)) == nullptr);
    }
    SUBCASE("when it is evicted")
    {
        CHECK(index.make_room(20).evicted == numbered({1}));
    }
    SUBCASE("when it is replaced")
    {
        (void)index.make_room(10);
        index.insert(nth(1), 10, std::make_shared<int>(2));
        CHECK(*std::static_pointer_cast<const int>(index.content(nth(1))) == 2);
    }
    CHECK(!held(of_first));
}

TEST_CASE("object_index: a batch is locked as its keys would be one by one")
{
    object_index index;
    for (const std::uint64_t n : {1U, 2U, 4U})
        add(index, n, 10);
    const terrace::bitmap found = index.lock(numbered({1, 2, 3, 4}));
    CHECK(found == [] {
        terrace::bitmap expected{4, true};
        expected.set(2, false);
        return expected;
    }());
    CHECK(index.locked_objects() == 3);
    CHECK(index.lock(nth(1))); // a second lock
    for (const object_key& key : numbered({1, 2, 4}))
        index.unlock(key);
    CHECK(index.locked_objects() == 1);
}
