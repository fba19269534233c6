#include "policy/eviction/ghost_queue.hpp"

#include <algorithm>
#include <deque>
#include <doctest/doctest.h>
#include <random>

using terrace::ghost_queue;

TEST_CASE("ghosts: what is remembered can be taken once")
{
    ghost_queue ghosts;
    CHECK_FALSE(ghosts.take(1));
    ghosts.remember(1, 3);
    ghosts.remember(2, 3);
    CHECK(ghosts.take(1));
    CHECK_FALSE(ghosts.take(1));
    CHECK(ghosts.take(2));
}

TEST_CASE("ghosts: beyond the limit the earliest are forgotten")
{
    ghost_queue ghosts;
    for (std::uint64_t hash = 1; hash <= 4; ++hash)
        ghosts.remember(hash, 3);
    SUBCASE("one each")
    {
        CHECK_FALSE(ghosts.take(1));
        CHECK(ghosts.take(2));
    }
    SUBCASE("or more, when the limit falls")
    {
        ghosts.remember(5, 2);
        CHECK_FALSE(ghosts.take(3));
        CHECK(ghosts.take(4));
        CHECK(ghosts.take(5));
    }
    SUBCASE("remembered again, it is as late as the second time")
    {
        ghosts.remember(2, 3);
        ghosts.remember(5, 3);
        CHECK(ghosts.take(2));
    }
    SUBCASE("of none, nothing is")
    {
        ghosts.remember(5, 0);
        CHECK_FALSE(ghosts.take(5));
        CHECK(ghosts.take(4));
    }
}

TEST_CASE("ghosts: they agree with a plain list over random calls, however hashes collide")
{
    const unsigned seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random{seed};
    ghost_queue ghosts;
    std::deque<std::uint64_t> plain; // 0: a hole
    const auto taken = [&](std::uint64_t hash) {
        const auto at = std::ranges::find(plain, hash);
        if (at == plain.end())
            return false;
        *at = 0;
        return true;
    };
    for (int step = 0; step < 100'000; ++step) {
        const std::uint64_t object = 1 + random() % 400;
        const std::uint64_t hash = (object << 20) + object % 7; // low bits that are equal, or next to each other
        if (random() % 3 == 0) {
            REQUIRE(ghosts.take(hash) == taken(hash));
            continue;
        }
        const std::size_t limit = 1 + random() % static_cast<unsigned>(50 + step / 500);
        ghosts.remember(hash, limit);
        (void)taken(hash);
        while (plain.size() >= limit)
            plain.pop_front();
        plain.push_back(hash);
    }
}
