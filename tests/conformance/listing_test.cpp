// Listing pages through the keys.

#include "conformance/world.hpp"

#include <algorithm>

using namespace terrace;
using namespace terrace::conformance;

TEST_CASE("the pages of a listing have every key once")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        const auto many = key_range(0, 25);
        w.put(many);
        for (const std::size_t page_size : {1U, 7U, 25U, 1000U}) {
            CAPTURE(page_size);
            CHECK(std::ranges::is_permutation(w.list(page_size), many));
        }
        w.erase(key_range(10, 10));
        CHECK(w.list(4).size() == 15);
        check_at_rest(w);
    }
}

TEST_CASE("a listing that goes on while objects come and go has all others once")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        const auto staying = key_range(0, 10);
        w.put(staying);
        w.put(key_range(100, 10));

        std::vector<object_key> seen;
        std::optional<list_cursor> next{list_cursor{"", 1}};
        for (std::uint64_t round = 0; next; ++round) {
            REQUIRE(round < 1000);
            const key_page page = w.run(w.adapter->list(*next));
            CHECK(page.keys.size() <= 1);
            seen.insert(seen.end(), page.keys.begin(), page.keys.end());
            next = page.next;
            w.erase(keys({100 + round})); // seen already, or not
            if (round < 5)                // or the listing would not end
                w.put(keys({200 + round}));
            w.put(keys({round % 10}), default_bytes, round); // replaced: not new
        }
        for (const object_key& k : staying)
            CHECK_MESSAGE(std::ranges::count(seen, k) == 1, k.to_string());
        std::ranges::sort(seen, {}, &object_key::to_string);
        CHECK(std::ranges::adjacent_find(seen) == seen.end());
    }
}

TEST_CASE("a cursor of somebody else's is refused, and a page of nothing")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(keys({1, 2}));
        const auto list = [&](std::string after, std::size_t page_size) {
            return w.run(w.adapter->list(list_cursor{std::move(after), page_size}));
        };
        CHECK_THROWS(list("no cursor of any adapter", 10));
        CHECK_THROWS(list(std::string(1000, '\xFF'), 10));
        CHECK_THROWS_AS(list("", 0), std::invalid_argument);
        CHECK(w.list().size() == 2);
        check_at_rest(w);
    }
}
