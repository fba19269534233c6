#include "flow/room_queue.hpp"

#include <doctest/doctest.h>
#include <string>
#include <string_view>
#include <vector>

using namespace terrace;

namespace {

/// "s4 a2": one who wants 4 bytes and waits for stores, then one who wants 2 and waits for anyone.
std::vector<room_wish> line(std::string_view words)
{
    std::vector<room_wish> wishes;
    for (; !words.empty(); words.remove_prefix(std::min<std::size_t>(3, words.size()))) {
        const auto who = words[0] == 's' ? room_wish::patience::stores : room_wish::patience::anyone;
        wishes.push_back({static_cast<std::uint64_t>(words[1] - '0'), who});
    }
    return wishes;
}

/// w: waits; t: takes what there is.
std::string forecast(const room_holders& now, std::string_view words)
{
    room_forecast ahead{now};
    std::string verdicts;
    for (const room_wish& wish : line(words))
        verdicts += ahead.worth_waiting(wish) ? 'w' : 't';
    return verdicts;
}

} // namespace

TEST_CASE("room: who waits has something to wait for, and gets all of its wish by it")
{
    struct row {
        std::uint64_t held;
        std::uint64_t stores;
        std::string_view line;
        std::string_view verdicts;
        const char* why;
    };
    for (const row& r : {
             row{8, 8, "s8", "w", "stores have all of it"},
             row{8, 8, "s9", "t", "more than there is"},
             row{8, 8, "a9", "t", "more than there is"},
             row{5, 1, "s4", "w", "three are free, and one is a store's"},
             row{5, 1, "s5", "t", "readers have the rest"},
             row{5, 1, "a5", "w", "readers have the rest, and it has the time"},
             row{5, 9, "s8", "w", "what stores hold is an upper bound"},
             row{5, 0, "s1", "t", "no store holds anything: it finds no room for another reason"},
             row{0, 0, "a8", "t", "nobody holds anything"},
             row{0, 0, "a8 a8", "tw", "nobody but whoever is before it, soon"},
             row{8, 8, "s4 s4 s8", "www", "stores move the line"},
             row{8, 8, "a4 s4", "ww", "be it somebody with more time who is before it"},
             row{6, 1, "a4 s1", "wt", "before it is one who waits for readers"},
             row{6, 1, "s1 a4 s1", "wwt", "it has room before that one, not after"},
             row{6, 1, "s5 a9 s1", "ttw", "who does not wait is in nobody's way"},
         }) {
        CAPTURE(r.why);
        CHECK(forecast({{8, r.held}, r.stores}, r.line) == r.verdicts);
    }
}
