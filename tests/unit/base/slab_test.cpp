#include "base/slab.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <doctest/doctest.h>
#include <vector>

using terrace::slab;

namespace {

struct page_of_numbers {
    explicit page_of_numbers(std::uint64_t n) { numbers.fill(n); }
    [[nodiscard]] bool holds(std::uint64_t n) const
    {
        return std::ranges::all_of(numbers, [&](std::uint64_t x) { return x == n; });
    }
    std::array<std::uint64_t, 512> numbers;
};

} // namespace

TEST_CASE("slab: objects keep to themselves, in small chunks and, once there are many, in huge pages")
{
    constexpr std::size_t many = 6000; // 4 KiB each: the first 16 MiB are in small chunks
    slab<page_of_numbers, 64> s;
    std::vector<page_of_numbers*> made;
    for (std::size_t i = 0; i < many; ++i)
        made.push_back(&s.make(i));
    for (std::size_t i = 0; i < many; ++i)
        REQUIRE(made[i]->holds(i));
    for (page_of_numbers* object : made)
        s.destroy(*object);
}

TEST_CASE("slab: what is given back is used again before anything new")
{
    slab<std::uint64_t, 4> s;
    std::vector<std::uint64_t*> made;
    for (std::uint64_t i = 0; i < 10; ++i)
        made.push_back(&s.make(i));
    std::vector<std::uint64_t*> again;
    for (std::uint64_t* object : made)
        s.destroy(*object);
    for (std::uint64_t i = 0; i < 10; ++i)
        again.push_back(&s.make(i));
    std::ranges::sort(made);
    std::ranges::sort(again);
    CHECK(made == again);
    for (std::uint64_t* object : again)
        s.destroy(*object);
}
