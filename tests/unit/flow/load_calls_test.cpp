#include "flow/load_calls.hpp"

#include <doctest/doctest.h>
#include <string>
#include <string_view>
#include <vector>

using namespace terrace;

namespace {

/// "1011": positions 0, 2 and 3 of 4.
bitmap bits(std::string_view digits)
{
    bitmap b{digits.size()};
    for (std::size_t i = 0; i < digits.size(); ++i)
        b.set(i, digits[i] == '1');
    return b;
}

/// "0: 2 3 | 1: 4": the first adapter loads keys 2 and 3, then the second key 4.
std::string calls(const std::vector<std::string_view>& chosen, const std::vector<layout_run>& layouts,
                  std::uint64_t window_bytes)
{
    std::vector<bitmap> bitmaps;
    for (const std::string_view one : chosen)
        bitmaps.push_back(bits(one));
    std::string all;
    for (const load_call& call : split_into_calls(bitmaps, layouts, window_bytes)) {
        all += (all.empty() ? "" : " | ") + std::to_string(call.adapter) + ":";
        for (const std::uint32_t at : call.positions)
            all += " " + std::to_string(at);
    }
    return all;
}

} // namespace

TEST_CASE("load calls: one for each adapter, layout and window")
{
    const std::vector<layout_run> same{{6, memory_layout::bytes(10)}};
    CHECK(calls({}, same, 100).empty());
    CHECK(calls({"000000"}, same, 100).empty());
    CHECK(calls({"011010"}, same, 100) == "0: 1 2 4");
    CHECK(calls({"100010", "011101"}, same, 100) == "0: 0 4 | 1: 1 2 3 5");

    CHECK(calls({"111111"}, same, 20) == "0: 0 1 | 0: 2 3 | 0: 4 5");
    CHECK(calls({"111111"}, same, 39) == "0: 0 1 2 | 0: 3 4 5");
    CHECK(calls({"110111"}, same, 1) == "0: 0 | 0: 1 | 0: 3 | 0: 4 | 0: 5"); // each is larger, and goes alone
    CHECK(calls({"101010", "010100"}, same, 20) == "0: 0 2 | 0: 4 | 1: 1 3");

    const std::vector<layout_run> groups{
        {2, memory_layout::bytes(10)}, {4, memory_layout::bytes(20)}, {6, memory_layout::bytes(10)}};
    CHECK(calls({"111111"}, groups, 100) == "0: 0 1 | 0: 2 3 | 0: 4 5");
    CHECK(calls({"110011"}, groups, 100) == "0: 0 1 | 0: 4 5");
    CHECK(calls({"011110"}, groups, 20) == "0: 1 | 0: 2 | 0: 3 | 0: 4");

    const std::vector<bitmap> both{bits("001111")};
    CHECK(split_into_calls(both, groups, 100).back().layout == &groups.back().layout);
}
