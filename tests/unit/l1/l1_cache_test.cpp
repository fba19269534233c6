#include "l1/l1_cache.hpp"
#include "support/world.hpp"

#include <algorithm>
#include <random>
#include <set>
#include <thread>

using namespace terrace;
using namespace terrace::test;

namespace {

using on_shortage = l1_cache::on_shortage;

/// An L1 of `objects` objects, without an engine around it.
struct small_l1 {
    explicit small_l1(std::size_t objects = 4, std::string_view policy = "lru")
    {
        l1_config cfg;
        cfg.capacity_bytes = objects * object_bytes;
        cfg.huge_pages = huge_page_mode::off;
        cache = std::make_shared<l1_cache>(cfg, eviction_policy::make(policy), cfg.capacity_bytes);
    }
    ~small_l1()
    {
        cache->check();
        const auto s = cache->status();
        CHECK(s.locks == 0);
        CHECK(s.staged_bytes == 0);
    }

    write_lease reserve(std::string_view words, write_mode mode = write_mode::new_only)
    {
        return *cache->reserve_write(keys(words), layout, mode, on_shortage::keep_leading);
    }
    void write(std::string_view words, write_mode mode = write_mode::new_only)
    {
        auto lease = reserve(words, mode);
        fill(lease);
        lease.commit();
    }
    static void fill(write_lease& lease)
    {
        for (std::size_t i = 0; i < lease.size(); ++i)
            if (lease.ok(i) == l1_error::none)
                std::ranges::copy(payload(lease.key(i)), lease.bytes(i).begin());
    }
    read_lease read(std::string_view words, std::uint32_t readers = 1) { return cache->read(keys(words), readers); }
    bool has(std::string_view words) { return read(words).size() == keys(words).size(); }

    memory_layout layout = memory_layout::bytes(object_bytes);
    std::shared_ptr<l1_cache> cache;
};

std::vector<l1_error> errors(const write_lease& lease)
{
    std::vector<l1_error> result;
    for (std::size_t i = 0; i < lease.size(); ++i)
        result.push_back(lease.ok(i));
    return result;
}

} // namespace

TEST_CASE("L1: an object is seen by readers only after its commit")
{
    small_l1 l1;
    auto lease = l1.reserve("a");
    REQUIRE(lease.ok(0) == l1_error::none);
    CHECK(lease.bytes(0).size() == object_bytes);
    CHECK(l1.read("a").empty());
    SUBCASE("committed")
    {
        small_l1::fill(lease);
        lease.commit();
        CHECK(lease.size() == 0);
        auto seen = l1.read("a");
        REQUIRE(seen.size() == 1);
        CHECK(intact(seen));
    }
    SUBCASE("dropped, it is discarded unseen")
    {
        lease = {};
        CHECK(l1.read("a").empty());
        CHECK(l1.cache->status().used_bytes == 0);
        CHECK(l1.cache->status().discarded_objects == 1);
    }
    SUBCASE("committed in part, the rest is discarded unseen")
    {
        lease = l1.reserve("b c d");
        small_l1::fill(lease);
        bitmap filled{3};
        filled.set(1);
        lease.commit(filled);
        CHECK_FALSE(l1.has("b"));
        CHECK(l1.has("c"));
        CHECK_FALSE(l1.has("d"));
    }
    SUBCASE("a bitmap of another size commits nothing")
    {
        CHECK_THROWS_WITH_AS(lease.commit(bitmap{2}), doctest::Contains("2 bits; expected one of 1"),
                             std::invalid_argument);
        CHECK(lease.size() == 1);
        CHECK(l1.read("a").empty());
    }
}

TEST_CASE("L1: which keys a write mode takes")
{
    small_l1 l1;
    l1.write("a");
    const auto free_bytes = [&] { return l1.cache->capacity_bytes() - l1.cache->status().used_bytes; };
    const auto before = free_bytes();
    SUBCASE("new_only refuses what is resident, and spends no memory on it")
    {
        auto lease = l1.reserve("a b");
        CHECK(errors(lease) == std::vector{l1_error::already_resident, l1_error::none});
        CHECK(lease.bytes(0).empty());
        CHECK(free_bytes() == before - object_bytes);
    }
    SUBCASE("update refuses what is not")
    {
        auto lease = l1.reserve("a b", write_mode::update);
        CHECK(errors(lease) == std::vector{l1_error::none, l1_error::not_resident});
    }
    SUBCASE("all takes either")
    {
        auto lease = l1.reserve("a b", write_mode::all);
        CHECK(errors(lease) == std::vector{l1_error::none, l1_error::none});
    }
}

TEST_CASE("L1: an update leaves the old bytes to their readers and gives the new ones to later readers")
{
    small_l1 l1;
    l1.write("a");
    auto old = l1.read("a");
    auto lease = l1.reserve("a", write_mode::update);
    std::ranges::fill(lease.bytes(0), std::byte{7});
    CHECK(intact(l1.read("a"))); // not committed yet
    lease.commit();
    CHECK(intact(old));
    auto fresh = l1.read("a");
    CHECK(std::ranges::all_of(fresh.bytes(0), [](std::byte b) { return b == std::byte{7}; }));
    CHECK(l1.cache->status().used_bytes == 2 * object_bytes);
    old = {};
    CHECK(l1.cache->status().used_bytes == object_bytes);
}

TEST_CASE("L1: of several writers of one key the first to commit wins")
{
    small_l1 l1;
    auto first = l1.reserve("a");
    auto second = l1.reserve("a");
    CHECK(first.ok(0) == l1_error::none);
    CHECK(second.ok(0) == l1_error::none);
    small_l1::fill(second);
    second.commit();
    std::ranges::fill(first.bytes(0), std::byte{1});
    first.commit(); // in silence
    CHECK(intact(l1.read("a")));
    CHECK(l1.cache->status().used_bytes == object_bytes);
    CHECK(l1.cache->status().discarded_objects == 1);
}

TEST_CASE("L1: a read locks the leading resident keys, up to the first that is not")
{
    small_l1 l1;
    l1.write("a b d");
    auto lease = l1.read("a b c d", 2);
    CHECK(words(lease) == "a b");
    CHECK(l1.cache->status().locks == 4);
    CHECK(l1.cache->status().locked_objects == 2);
    auto readers = lease.split();
    CHECK(readers.size() == 2);
    readers.clear();
    CHECK(l1.cache->status().locks == 0);
    CHECK(l1.has("a b")); // retained
}

TEST_CASE("L1: out of memory, the keys before keep their reservations")
{
    small_l1 l1{2};
    auto lease = l1.reserve("a b c d");
    CHECK(errors(lease) ==
          std::vector{l1_error::none, l1_error::none, l1_error::out_of_memory, l1_error::out_of_memory});
    CHECK(lease.leading() == 2);
    lease.commit();
    CHECK(l1.has("a b"));
}

TEST_CASE("L1: an object larger than L1 is refused as such")
{
    small_l1 l1{2};
    for (const std::uint64_t bytes : {std::uint64_t{3 * object_bytes}, ~std::uint64_t{0}}) {
        auto lease = *l1.cache->reserve_write(keys("a"), memory_layout::known_by(bytes, 1), write_mode::new_only,
                                              on_shortage::keep_leading);
        CHECK(lease.ok(0) == l1_error::larger_than_l1);
    }
}

TEST_CASE("L1: a reservation evicts what it needs, the least recently released first")
{
    small_l1 l1{4};
    l1.write("a b c d");
    SUBCASE("the tail of a chain goes before its head")
    {
        l1.write("x y");
        CHECK_FALSE(l1.has("d"));
        CHECK_FALSE(l1.has("c"));
        CHECK(l1.has("a b"));
    }
    SUBCASE("what was read lately stays")
    {
        (void)l1.read("d");
        l1.write("x y");
        CHECK(l1.has("d"));
        CHECK(l1.has("a"));
        CHECK_FALSE(l1.has("b"));
        CHECK_FALSE(l1.has("c"));
    }
    SUBCASE("what is read is never evicted")
    {
        auto lease = l1.read("a b c d");
        CHECK(l1.reserve("x").ok(0) == l1_error::out_of_memory);
        CHECK(intact(lease));
    }
    SUBCASE("nothing is evicted for an object that will not fit all the same")
    {
        auto lease = l1.read("a");
        const auto all_of_it = memory_layout::bytes(4 * object_bytes);
        auto refused = *l1.cache->reserve_write(keys("x"), all_of_it, write_mode::new_only, on_shortage::keep_leading);
        CHECK(refused.ok(0) == l1_error::out_of_memory);
        CHECK(l1.has("b c d"));
    }
    SUBCASE("nor what is staged")
    {
        l1.cache->clear(clear_mode::unlocked);
        auto staged = l1.reserve("p q r s");
        CHECK(l1.reserve("x").ok(0) == l1_error::out_of_memory);
        staged.commit();
        CHECK(l1.has("p q r s"));
    }
    CHECK(l1.cache->status().resident_objects <= 4);
}

TEST_CASE("L1: under the policy none nothing is ever evicted")
{
    small_l1 l1{2, "none"};
    l1.write("a b");
    CHECK(l1.reserve("c").ok(0) == l1_error::out_of_memory);
    CHECK(l1.has("a b"));
}

TEST_CASE("L1: a reservation that gives up holds nothing")
{
    small_l1 l1{2};
    auto held = l1.reserve("h");
    CHECK_FALSE(l1.cache->reserve_write(keys("a b"), l1.layout, write_mode::new_only, on_shortage::give_up));
    CHECK(l1.cache->status().staged_objects == 1);
    auto both = l1.cache->reserve_write(keys("a"), l1.layout, write_mode::new_only, on_shortage::give_up);
    REQUIRE(both);
    CHECK(both->leading() == 1);
}

TEST_CASE("L1: erased or cleared while it is read, an object is hidden at once and freed at its last release")
{
    small_l1 l1;
    l1.write("a b");
    auto lease = l1.read("a");
    SUBCASE("erase")
    {
        CHECK(l1.cache->erase(keys("a b c")) == bitmap::first(2, 3));
    }
    SUBCASE("clear by force")
    {
        CHECK(l1.cache->clear(clear_mode::force) == 2);
    }
    CHECK_FALSE(l1.has("a"));
    CHECK_FALSE(l1.has("b"));
    CHECK(intact(lease));
    CHECK(l1.cache->status().used_bytes == object_bytes);
    l1.write("a"); // anew, beside the hidden one
    CHECK(intact(lease));
    lease = {};
    CHECK(l1.cache->status().used_bytes == object_bytes);
}

TEST_CASE("L1: clear leaves what is read or staged, unless it is by force; staged bytes it never touches")
{
    small_l1 l1;
    l1.write("a b");
    auto lease = l1.read("a");
    auto staged = l1.reserve("s");
    small_l1::fill(staged);
    CHECK(l1.cache->clear(clear_mode::unlocked) == 1);
    CHECK(l1.has("a"));
    CHECK_FALSE(l1.has("b"));
    CHECK(l1.cache->clear(clear_mode::force) == 1);
    staged.commit();
    CHECK(l1.has("s"));
    CHECK(intact(l1.read("s")));
}

TEST_CASE("L1: a lease keeps the memory alive after everything else has gone")
{
    read_lease lease;
    {
        small_l1 l1;
        l1.write("a");
        lease = l1.read("a");
        std::weak_ptr<l1_cache> cache = l1.cache;
        l1.cache = std::make_shared<l1_cache>(l1_config{.capacity_bytes = 4096}, eviction_policy::make("lru"), 4096);
        CHECK_FALSE(cache.expired());
    }
    CHECK(intact(lease));
}

TEST_CASE("L1: closed, it reserves nothing and publishes nothing")
{
    small_l1 l1;
    auto staged = l1.reserve("a");
    l1.cache->close();
    staged.commit();
    CHECK(l1.read("a").empty());
    CHECK(l1.reserve("b").ok(0) == l1_error::closed);
}

TEST_CASE("L1: what was loaded is published and locked for all that claim it, in one step")
{
    small_l1 l1;
    l1.write("r");
    const auto request = keys("a r b");
    const std::vector<layout_run> layouts{{3, l1.layout}};
    auto pins = l1.cache->pin(request, layouts, 2);
    auto other = l1.cache->pin(keys("b"), std::vector<layout_run>{{1, l1.layout}}, 1);
    CHECK(pins.present().count() == 1);
    auto staged =
        l1.cache->stage_for_load(keys("a b"), std::vector<layout_run>{{2, l1.layout}}, on_shortage::keep_leading);
    small_l1::fill(*staged);
    l1_cache::landing how;
    how.loaded = bitmap{2, true};
    how.retained = bitmap{2};
    how.claims = {{&pins, 0}, {&pins, 2}, {&other, 0}}; // one for "a", two for "b"
    how.ends = {1, 3};
    SUBCASE("all of it")
    {
        l1.cache->land(std::move(*staged), how);
        auto lease = std::move(pins).into_lease();
        CHECK(words(lease) == "a r b");
        CHECK(intact(lease));
        CHECK(l1.cache->status().locks == 7);
        lease = {};
        CHECK_FALSE(l1.has("a")); // temporary
        CHECK(l1.has("b r"));
        other = {};
        CHECK_FALSE(l1.has("b"));
        CHECK(l1.has("r"));
    }
    SUBCASE("what is retained stays after its readers")
    {
        how.retained.set(0);
        l1.cache->land(std::move(*staged), how);
        pins = {};
        CHECK(l1.has("a"));
    }
    SUBCASE("what failed to load is discarded unseen")
    {
        how.loaded.set(1, false);
        l1.cache->land(std::move(*staged), how);
        CHECK_FALSE(l1.has("b"));
        CHECK(pins.present() == bitmap::first(2, 3));
        CHECK(other.present().none());
    }
    SUBCASE("what became resident meanwhile is locked in its place")
    {
        l1.write("a");
        l1.cache->land(std::move(*staged), how);
        CHECK(pins.present().all());
        CHECK(l1.cache->status().resident_objects == 3);
        pins = {};
        CHECK(l1.has("a")); // that one is retained
    }
    SUBCASE("what nobody claims is discarded")
    {
        how.claims = {{&pins, 2}};
        how.ends = {0, 1};
        l1.cache->land(std::move(*staged), how);
        CHECK_FALSE(l1.has("a"));
        CHECK(l1.cache->status().discarded_objects == 1);
    }
    SUBCASE("or retained, unlocked, where that is asked for")
    {
        how.claims = {{&pins, 2}};
        how.ends = {0, 1};
        how.keep_unclaimed = true;
        l1.cache->land(std::move(*staged), how);
        CHECK(l1.has("a"));
    }
    SUBCASE("the store flow hears nothing of it")
    {
        struct counting_listener : l1_listener {
            int commits = 0;
            void on_commit(read_lease, write_mode) noexcept override { ++commits; }
            void on_wanted(read_lease, write_mode) noexcept override {}
            void on_room() noexcept override {}
            void on_pressure() noexcept override {}
        };
        const auto listener = std::make_shared<counting_listener>();
        l1.cache->listen(listener);
        l1.cache->offer_commits(true);
        how.keep_unclaimed = true;
        l1.cache->land(std::move(*staged), how);
        CHECK(listener->commits == 0);
        pins = {};
        l1.write("d");
        CHECK(listener->commits == 1);
    }
}

TEST_CASE("L1: its counts agree with what it holds after any sequence of operations")
{
    const std::uint64_t seed = 7;
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    small_l1 l1{16};
    std::vector<read_lease> reads;
    std::vector<write_lease> writes;
    const auto some_keys = [&] {
        std::set<std::string> names;
        for (std::size_t i = random() % 5; i-- > 0;)
            names.insert(std::string(1, static_cast<char>('a' + random() % 24)));
        std::string list;
        for (const auto& name : names)
            list += name + " ";
        return list;
    };
    const auto drop = [&](auto& leases) {
        if (!leases.empty())
            leases.erase(leases.begin() + static_cast<std::ptrdiff_t>(random() % leases.size()));
    };
    for (int step = 0; step < 20'000; ++step) {
        switch (random() % 8) {
        case 0:
            writes.push_back(l1.reserve(some_keys(), static_cast<write_mode>(random() % 3)));
            break;
        case 1:
            reads.push_back(l1.read(some_keys(), 1 + static_cast<std::uint32_t>(random() % 3)));
            break;
        case 2:
            drop(reads);
            break;
        case 3:
            drop(writes);
            break;
        case 4:
            if (!writes.empty()) {
                small_l1::fill(writes.back());
                writes.back().commit();
            }
            break;
        case 5:
            if (random() % 20 == 0)
                l1.cache->clear(random() % 2 != 0 ? clear_mode::force : clear_mode::unlocked);
            break;
        case 6:
            (void)l1.cache->erase(keys(some_keys()));
            break;
        case 7:
            for (const auto& lease : reads)
                REQUIRE(intact(lease));
            break;
        }
        if (step % 50 == 0)
            l1.cache->check();
    }
    reads.clear();
    writes.clear();
    l1.cache->clear(clear_mode::unlocked);
    CHECK(l1.cache->status().used_bytes == 0);
}

TEST_CASE("L1: threads may read, write, erase and release at once")
{
    small_l1 l1{32};
    const auto work = [&](std::uint64_t seed) {
        std::mt19937_64 random{seed};
        for (int step = 0; step < 4'000; ++step) {
            const auto word = std::string(1, static_cast<char>('a' + random() % 20));
            switch (random() % 4) {
            case 0:
                l1.write(word, write_mode::all);
                break;
            case 1:
                (void)l1.cache->erase(keys(word));
                break;
            default: {
                auto lease = l1.read(word, 2);
                auto parts = lease.split();
                for (const auto& part : parts)
                    if (!part.empty() && part.bytes(0)[100] != payload(part.key(0))[100])
                        throw std::logic_error("foreign bytes");
            }
            }
        }
    };
    std::exception_ptr failed;
    std::thread other{[&] {
        try {
            work(1);
        } catch (...) {
            failed = std::current_exception();
        }
    }};
    work(2);
    other.join();
    CHECK_FALSE(failed);
    l1.cache->clear(clear_mode::force);
    CHECK(l1.cache->status().used_bytes == 0);
}

TEST_CASE("L1: whoever asked for room is told once of what frees memory or makes it evictable")
{
    struct counting_listener : l1_listener {
        int rooms = 0;
        void on_commit(read_lease, write_mode) noexcept override {}
        void on_wanted(read_lease, write_mode) noexcept override {}
        void on_room() noexcept override { ++rooms; }
        void on_pressure() noexcept override {}
    };
    small_l1 l1;
    const auto listener = std::make_shared<counting_listener>();
    l1.cache->listen(listener);
    l1.write("a b");
    auto read = l1.read("a");
    auto staged = l1.reserve("s");
    l1.cache->ask_for_room();
    SUBCASE("a reader's release")
    {
        read = {};
    }
    SUBCASE("a discarded reservation")
    {
        staged = {};
    }
    SUBCASE("a commit")
    {
        staged.commit();
    }
    SUBCASE("erase")
    {
        (void)l1.cache->erase(keys("b"));
    }
    SUBCASE("clear")
    {
        l1.cache->clear(clear_mode::unlocked);
    }
    CHECK(listener->rooms == 1);
    (void)l1.read("b"); // nobody has asked again
    CHECK(listener->rooms == 1);
}

TEST_CASE("L1: the end of a reservation that gave up is not taken for room that somebody made")
{
    struct counting_listener : l1_listener {
        int rooms = 0;
        void on_commit(read_lease, write_mode) noexcept override {}
        void on_wanted(read_lease, write_mode) noexcept override {}
        void on_room() noexcept override { ++rooms; }
        void on_pressure() noexcept override {}
    };
    small_l1 l1{2};
    const auto listener = std::make_shared<counting_listener>();
    l1.cache->listen(listener);
    auto held = l1.reserve("h");
    l1.cache->ask_for_room();
    CHECK_FALSE(l1.cache->reserve_write(keys("a b"), l1.layout, write_mode::new_only, on_shortage::give_up));
    CHECK(listener->rooms == 0); // or whoever waits would try again and again
}

TEST_CASE("L1: closed, it keeps what is resident for those who read it, and takes nothing more")
{
    small_l1 l1;
    l1.write("a");
    auto held = l1.read("a");
    auto staged = l1.reserve("b");
    auto replacing = l1.reserve("a", write_mode::update);
    l1.cache->close();
    staged.commit();
    replacing.commit();
    CHECK(l1.cache->status().resident_objects == 1);
    CHECK(l1.cache->status().staged_objects == 0);
    CHECK(intact(held));
}

TEST_CASE("l1: many more small objects than the index had room for at first are all found")
{
    l1_config cfg;
    cfg.capacity_bytes = 4 << 20;
    cfg.alignment_bytes = 64;
    cfg.huge_pages = huge_page_mode::off;
    const auto cache = std::make_shared<l1_cache>(cfg, eviction_policy::make("lru"), cfg.capacity_bytes);
    std::vector<object_key> names;
    for (std::size_t i = 0; i < 40'000; ++i)
        names.push_back(key("n" + std::to_string(i)));
    cache->reserve_write(names, memory_layout::bytes(64), write_mode::new_only, on_shortage::keep_leading)->commit();
    CHECK(cache->status().resident_objects == names.size());
    CHECK(cache->read(names, 1).size() == names.size());
    cache->check();
}
