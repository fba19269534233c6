#include "l1/allocator.hpp"

#include <algorithm>
#include <doctest/doctest.h>
#include <map>
#include <random>
#include <vector>

using terrace::allocator;
using terrace::memory_block;

namespace {

constexpr std::uint64_t kib = 1024;

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

TEST_CASE("allocator: blocks never overlap, whatever is allocated and freed in whatever order")
{
    const std::uint64_t seed = 20240917;
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    allocator a{std::uint64_t{1} << 24, 64};
    std::map<std::uint64_t, memory_block*> by_offset;
    for (int step = 0; step < 20'000; ++step) {
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
