#include "l1/allocator.hpp"
#include "support/units.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <map>
#include <random>
#include <vector>

using terrace::allocator;
using terrace::memory_block;
using terrace::test::kib;
using terrace::test::mib;

namespace {

/// Allocates until nothing more fits, and gives it all back at the end.
std::vector<memory_block*> fill(allocator& a, std::uint64_t bytes)
{
    std::vector<memory_block*> blocks;
    while (memory_block* block = a.allocate(bytes))
        blocks.push_back(block);
    return blocks;
}

} // namespace

TEST_CASE("allocator: a range is filled to the last byte by objects of one size")
{
    for (const std::uint64_t bytes : {4 * kib, 12 * kib, 404 * kib, 1024 * kib}) {
        CAPTURE(bytes);
        const std::uint64_t objects = 100;
        allocator a{objects * bytes, 4096};
        auto blocks = fill(a, bytes);
        CHECK(blocks.size() == objects);
        CHECK(a.used_bytes() == a.capacity_bytes());
        a.check();

        // One that was freed is found again, although its size starts no bin.
        a.free(*blocks[42]);
        CHECK(a.largest_free_bytes() == bytes);
        blocks[42] = a.allocate(bytes);
        REQUIRE(blocks[42] != nullptr);

        for (memory_block* block : blocks)
            a.free(*block);
        a.check();
        CHECK(a.used_bytes() == 0);
        CHECK(a.largest_free_bytes() == a.capacity_bytes());
    }
}

TEST_CASE("allocator: offsets and sizes are multiples of the alignment")
{
    allocator a{1024 * kib + 17, 4096};
    CHECK(a.capacity_bytes() == 1024 * kib);
    memory_block* small = a.allocate(1);
    memory_block* odd = a.allocate(4097);
    CHECK(a.size_bytes(*small) == 4096);
    CHECK(a.size_bytes(*odd) == 8192);
    CHECK(odd->offset % 4096 == 0);
    a.free(*small);
    a.free(*odd);
}

TEST_CASE("allocator: what does not fit is refused, and changes nothing")
{
    allocator a{64 * kib, 4096};
    CHECK(a.allocate(64 * kib + 1) == nullptr);
    memory_block* block = a.allocate(33 * kib);
    CHECK(a.allocate(32 * kib) == nullptr);
    a.check();
    a.free(*block);
    memory_block* all = a.allocate(64 * kib);
    REQUIRE(all != nullptr);
    a.free(*all);
}

TEST_CASE("allocator: neighbours that are free are one")
{
    allocator a{16 * kib, 4096};
    auto blocks = fill(a, 4096);
    REQUIRE(blocks.size() == 4);
    std::ranges::sort(blocks, {}, &memory_block::offset);
    SUBCASE("freed from the left")
    {
        a.free(*blocks[1]), a.free(*blocks[2]);
    }
    SUBCASE("freed from the right")
    {
        a.free(*blocks[2]), a.free(*blocks[1]);
    }
    CHECK(a.largest_free_bytes() == 8 * kib);
    a.free(*blocks[0]);
    a.free(*blocks[3]);
    CHECK(a.largest_free_bytes() == 16 * kib);
    a.check();
}

TEST_CASE("allocator: a range that grows takes what was too large for it")
{
    allocator a{16 * kib, 4096};
    SUBCASE("from nothing")
    {
        allocator none{0, 4096};
        CHECK(none.allocate(1) == nullptr);
        none.check();
        none.grow(8 * kib);
        memory_block* all = none.allocate(8 * kib);
        REQUIRE(all != nullptr);
        none.free(*all);
        none.check();
    }
    SUBCASE("after an allocated block")
    {
        auto blocks = fill(a, 8 * kib);
        a.grow(8 * kib);
        a.check();
        memory_block* added = a.allocate(8 * kib);
        REQUIRE(added != nullptr);
        CHECK(added->offset == 16 * kib);
        for (memory_block* block : blocks)
            a.free(*block);
        a.free(*added);
    }
    SUBCASE("a free last block and what is added are one")
    {
        memory_block* first = a.allocate(12 * kib);
        a.grow(8 * kib);
        a.check();
        CHECK(a.largest_free_bytes() == 12 * kib);
        memory_block* across = a.allocate(12 * kib);
        REQUIRE(across != nullptr);
        CHECK(across->offset == 12 * kib);
        a.free(*first);
        a.free(*across);
    }
    SUBCASE("what is past the last multiple of the alignment stays unused")
    {
        a.grow(8 * kib + 100);
        CHECK(a.capacity_bytes() == 24 * kib);
    }
    a.check();
    CHECK(a.used_bytes() == 0);
    CHECK(a.largest_free_bytes() == a.capacity_bytes());
}

TEST_CASE("allocator: blocks never overlap, whatever is allocated and freed in whatever order while the range grows")
{
    const std::uint64_t seed = 20240917;
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    allocator a{std::uint64_t{1} << 20, 64};
    std::map<std::uint64_t, memory_block*> by_offset;
    for (int step = 0; step < 20'000; ++step) {
        if (step % 64 == 63 && a.capacity_bytes() < std::uint64_t{1} << 24) {
            a.grow(64 * (1 + random() % 4096));
            a.check();
        }
        if (random() % 100 < 55) {
            if (memory_block* block = a.allocate(1 + random() % 100'000)) {
                auto [it, fresh] = by_offset.emplace(block->offset, block);
                REQUIRE(fresh);
                if (it != by_offset.begin())
                    REQUIRE(std::prev(it)->first + a.size_bytes(*std::prev(it)->second) <= block->offset);
                if (std::next(it) != by_offset.end())
                    REQUIRE(block->offset + a.size_bytes(*block) <= std::next(it)->first);
            }
        } else if (!by_offset.empty()) {
            auto it = by_offset.lower_bound(random() % a.capacity_bytes());
            if (it == by_offset.end())
                it = by_offset.begin();
            a.free(*it->second);
            by_offset.erase(it);
        }
        if (step % 1000 == 0)
            a.check();
    }
    for (const auto& [offset, block] : by_offset)
        a.free(*block);
    a.check();
    CHECK(a.used_bytes() == 0);
}

namespace {

enum class size_mix { uniform, log_uniform };
enum class victims { oldest, random };

/// The share of a range that is in use while objects of 64 KiB to 32 MiB replace one another.
struct utilization {
    double min = 1;
    double mean = 0;
};

/// A full L1 in small: each object displaces others, one by one, until it fits.
utilization replace_objects(std::uint64_t range_bytes, size_mix mix, victims order, std::uint64_t seed)
{
    constexpr std::size_t operations = 1'000'000;
    constexpr double smallest = 64.0 * kib;
    constexpr double largest = 32.0 * mib;
    std::mt19937_64 random{seed};
    const auto next_size = [&] {
        const double u = static_cast<double>(random() >> 11) * 0x1p-53;
        return static_cast<std::uint64_t>(mix == size_mix::uniform ? smallest + u * (largest - smallest)
                                                                   : smallest * std::pow(largest / smallest, u));
    };
    allocator a{range_bytes, 4096};
    std::deque<memory_block*> live;
    utilization seen;
    std::size_t replaced = 0;
    std::size_t samples = 0;
    for (std::size_t i = 0; i < operations; ++i) {
        const std::uint64_t bytes = next_size();
        memory_block* block = a.allocate(bytes);
        while (block == nullptr) {
            if (order == victims::random)
                std::swap(live.front(), live[random() % live.size()]);
            a.free(*live.front());
            live.pop_front();
            ++replaced;
            block = a.allocate(bytes);
        }
        live.push_back(block);
        if (replaced < 5 * live.size()) // steady: what filled the empty range is gone
            continue;
        const double used = static_cast<double>(a.used_bytes()) / static_cast<double>(a.capacity_bytes());
        seen.min = std::min(seen.min, used);
        seen.mean += (used - seen.mean) / static_cast<double>(++samples);
    }
    CHECK(samples > operations / 2);
    a.check();
    for (memory_block* block : live)
        a.free(*block);
    return seen;
}

} // namespace

TEST_CASE("allocator: objects of all sizes replace one another and leave little of the range unused")
{
    struct expectation {
        const char* what;
        size_mix mix;
        victims order;
        double min;
    };
    // With random victims the minimum is what is left after a run of bad luck: holes everywhere, none of 32 MiB.
    const expectation expectations[] = {
        {"uniform sizes, the oldest replaced", size_mix::uniform, victims::oldest, 0.87},
        {"uniform sizes, any replaced", size_mix::uniform, victims::random, 0.80},
        {"log-uniform sizes, the oldest replaced", size_mix::log_uniform, victims::oldest, 0.87},
        {"log-uniform sizes, any replaced", size_mix::log_uniform, victims::random, 0.60},
    };
    constexpr std::uint64_t range_bytes = 16 * 1024 * mib;
    constexpr std::uint64_t seed = 20250611;
    for (const expectation& e : expectations) {
        const utilization seen = replace_objects(range_bytes, e.mix, e.order, seed);
        MESSAGE(fmt::format("{}: {:.3f} of the range used in the mean, {:.3f} at least (seed {})", e.what, seen.mean,
                            seen.min, seed));
        CHECK(seen.mean >= 0.87);
        CHECK(seen.min >= e.min);
    }
}
