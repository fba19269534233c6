#include "l1/key_ledger.hpp"
#include "support/world.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <thread>

using namespace terrace;
using namespace terrace::test;

namespace {

/// A ledger for an L1 of 8 objects, "a b c" of which are resident.
struct counted_l1 {
    counted_l1()
    {
        write("a b c");
        ledger.emplace(cache);
    }
    ~counted_l1()
    {
        ledger.reset();
        cache->check();
        CHECK(locks() == 0);
    }

    [[nodiscard]] static std::shared_ptr<l1_cache> make_l1()
    {
        l1_config cfg;
        cfg.capacity_bytes = 8 * object_bytes;
        cfg.huge_pages = huge_page_mode::off;
        return std::make_shared<l1_cache>(cfg, eviction_policy::make("lru"), cfg.capacity_bytes);
    }
    void write(std::string_view words)
    {
        auto lease = *cache->reserve_write(keys(words), layout, write_mode::all, l1_cache::on_shortage::keep_leading);
        lease.commit();
    }
    /// Reads, and keeps the lease in the ledger.
    void keep(std::string_view words, std::uint32_t readers = 1)
    {
        auto lease = cache->read(keys(words), readers);
        REQUIRE(lease.size() == keys(words).size());
        ledger->keep(std::move(lease));
    }
    [[nodiscard]] std::uint64_t locks() const { return cache->status().locks; }
    [[nodiscard]] std::uint64_t held(std::string_view word) const { return ledger->held(key(word)); }

    memory_layout layout = memory_layout::bytes(object_bytes);
    std::shared_ptr<l1_cache> cache = make_l1();
    std::optional<key_ledger> ledger;
};

} // namespace

TEST_CASE("key ledger: it holds what it is given to keep")
{
    counted_l1 l1;
    auto lease = l1.cache->read(keys("a b"), 2);
    CHECK(l1.held("a") == 0);
    l1.ledger->keep(std::move(lease));
    CHECK(lease.empty());
    CHECK(l1.held("a") == 2);
    CHECK(l1.held("b") == 2);
    CHECK(l1.held("c") == 0);
    CHECK(l1.locks() == 4);
    SUBCASE("several leases add up")
    {
        l1.keep("b c", 3);
        CHECK(l1.held("a") == 2);
        CHECK(l1.held("b") == 5);
        CHECK(l1.held("c") == 3);
        CHECK(l1.locks() == 10);
    }
    SUBCASE("an empty lease adds nothing")
    {
        l1.ledger->keep({});
        l1.ledger->keep(l1.cache->read(keys("x"), 1));
        CHECK(l1.locks() == 4);
    }
    SUBCASE("what it holds is not evicted")
    {
        l1.write("d e f g h i j k");
        CHECK(l1.cache->read(keys("a b"), 1).size() == 2);
        CHECK(l1.cache->read(keys("c"), 1).empty());
    }
}

TEST_CASE("key ledger: finish_read gives locks back, key by key")
{
    counted_l1 l1;
    l1.keep("a b c", 3);
    SUBCASE("as many of each as it says")
    {
        l1.ledger->finish_read(keys("a c"), 2);
        CHECK(l1.held("a") == 1);
        CHECK(l1.held("b") == 3);
        CHECK(l1.held("c") == 1);
        CHECK(l1.locks() == 5);
    }
    SUBCASE("of several leases at once")
    {
        l1.keep("b", 2);
        l1.ledger->finish_read(keys("b"), 4);
        CHECK(l1.held("b") == 1);
        CHECK(l1.locks() == 7);
    }
    SUBCASE("to the last one")
    {
        l1.ledger->finish_read(keys("b"), 3);
        CHECK(l1.held("b") == 0);
        CHECK(l1.cache->status().locked_objects == 2);
        l1.keep("b");
        CHECK(l1.held("b") == 1);
    }
}

TEST_CASE("key ledger: finish_read refuses what it cannot do whole, and changes nothing")
{
    counted_l1 l1;
    l1.keep("a b", 2);
    l1.keep("a");
    const auto refused = [&](const std::vector<object_key>& which, std::uint32_t n, const std::string& why) {
        CHECK_THROWS_WITH_AS(l1.ledger->finish_read(which, n), doctest::Contains(why.c_str()), std::invalid_argument);
        CHECK(l1.held("a") == 3);
        CHECK(l1.held("b") == 2);
        CHECK(l1.locks() == 5);
    };
    refused(keys("a b"), 3, "3 locks of key " + key("b").to_string() + "; expected at most 2");
    refused(keys("a c"), 1, "1 locks of key " + key("c").to_string() + "; expected at most 0");
    refused(keys("a"), 4, "4 locks of key " + key("a").to_string() + "; expected at most 3");
    refused(keys("a b"), 0, "finish_read: 0 locks; expected at least 1");
    refused(keys("a b a"), 1, "stands twice");
    refused({key("a"), object_key{}}, 1, "is empty");
    l1.ledger->finish_read({}, 1);
    CHECK(l1.locks() == 5);
}

TEST_CASE("key ledger: an object that was replaced while it was held counts under its key, and goes first")
{
    counted_l1 l1;
    l1.keep("a", 2);
    l1.write("a");
    l1.keep("a", 2);
    CHECK(l1.held("a") == 4);
    CHECK(l1.cache->status().used_bytes == 4 * object_bytes); // both of them, b and c
    SUBCASE("one after the other")
    {
        l1.ledger->finish_read(keys("a"), 1);
        CHECK(l1.cache->status().used_bytes == 4 * object_bytes);
        l1.ledger->finish_read(keys("a"), 1);
        CHECK(l1.cache->status().used_bytes == 3 * object_bytes);
        CHECK(l1.held("a") == 2);
    }
    SUBCASE("across the two")
    {
        l1.ledger->finish_read(keys("a"), 3);
        CHECK(l1.cache->status().used_bytes == 3 * object_bytes);
        CHECK(l1.held("a") == 1);
        CHECK(l1.locks() == 1);
    }
    SUBCASE("refused beyond the two")
    {
        CHECK_THROWS_AS(l1.ledger->finish_read(keys("a"), 5), std::invalid_argument);
        CHECK(l1.held("a") == 4);
    }
}

TEST_CASE("key ledger: dropped, it releases everything")
{
    counted_l1 l1;
    l1.keep("a b", 2);
    l1.keep("b c", 5);
    SUBCASE("the ledger itself")
    {
        l1.ledger.reset();
    }
    SUBCASE("what it holds")
    {
        l1.ledger->release_all();
        CHECK(l1.held("b") == 0);
        CHECK_THROWS_AS(l1.ledger->finish_read(keys("b"), 1), std::invalid_argument);
    }
    CHECK(l1.locks() == 0);
    CHECK(l1.cache->status().resident_objects == 3);
}

TEST_CASE("key ledger: it keeps the memory behind its locks alive")
{
    auto cache = counted_l1::make_l1();
    std::weak_ptr<l1_cache> watched = cache;
    {
        auto lease = *cache->reserve_write(keys("a"), memory_layout::bytes(object_bytes), write_mode::new_only,
                                           l1_cache::on_shortage::keep_leading);
        lease.commit();
    }
    std::optional<key_ledger> ledger{cache};
    ledger->keep(cache->read(keys("a"), 1));
    cache.reset();
    ledger->finish_read(keys("a"), 1);
    CHECK_FALSE(watched.expired());
    ledger.reset();
    CHECK(watched.expired());
}

TEST_CASE("key ledger: a lease on another L1 is refused, and released")
{
    counted_l1 l1;
    counted_l1 other;
    CHECK_THROWS_WITH_AS(l1.ledger->keep(other.cache->read(keys("a"), 1)), doctest::Contains("another L1"),
                         std::invalid_argument);
    CHECK(l1.held("a") == 0);
    CHECK(other.locks() == 0);
}

TEST_CASE("key ledger: threads that keep and finish at once lose no lock and release none twice")
{
    counted_l1 l1;
    const auto work = [&] {
        for (int i = 0; i < 2000; ++i) {
            l1.keep("a b c", 2);
            l1.ledger->finish_read(keys("c a"), 2);
            l1.ledger->finish_read(keys("b"), 1);
        }
    };
    std::thread beside{work};
    work();
    beside.join();
    CHECK(l1.held("a") == 0);
    CHECK(l1.held("b") == 4000);
    CHECK(l1.held("c") == 0);
    CHECK(l1.locks() == 4000);
}
