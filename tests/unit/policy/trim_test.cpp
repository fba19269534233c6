#include "policy/trim.hpp"

#include <algorithm>
#include <doctest/doctest.h>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace terrace;

namespace {

constexpr auto all_rules = {trim_rule::prefix, trim_rule::segmented_prefix, trim_rule::sparse};

/// A group of so many distinct keys.
key_group group(std::size_t keys)
{
    static std::uint64_t made = 0;
    std::vector<object_key> names;
    for (std::size_t i = 0; i < keys; ++i)
        names.emplace_back("model", chunk_hash::from_number(++made));
    return {std::move(names), memory_layout::bytes(64)};
}

/// What is found of a request, as it reads: "11.1", or "11.1 0111" for two groups; '.' is as good as 0.
bitmap bits(std::string_view text)
{
    std::string flat{text};
    std::erase(flat, ' ');
    bitmap b{flat.size()};
    for (std::size_t i = 0; i < flat.size(); ++i)
        b.set(i, flat[i] == '1');
    return b;
}

request_shape shape(const std::vector<key_group>& groups, trim_rule rule = trim_rule::prefix)
{
    return request_shape{groups, rule};
}

/// The rules as they are defined, from the groups themselves, one prefix length after the other.
class by_definition {
public:
    by_definition(const std::vector<key_group>& groups, const bitmap& found) : groups_{groups}, found_{found}
    {
        chunks_ = groups.front().keys().size() / groups.front().keys_per_chunk();
        for (std::size_t n = 0; n <= chunks_; ++n) {
            bool usable = true;
            for (std::size_t g = 0; g < groups_.size(); ++g)
                for (std::size_t c = needed_from(g, n); c < n; ++c)
                    usable = usable && whole(g, c);
            if (usable)
                longest_ = n;
        }
    }

    [[nodiscard]] std::size_t longest() const { return longest_; }
    [[nodiscard]] bitmap usable(trim_rule rule) const
    {
        bitmap keys{found_.size()};
        for (std::size_t g = 0; g < groups_.size(); ++g)
            for (std::size_t c = 0; c < chunks_; ++c)
                for (std::size_t i = 0; i < groups_[g].keys_per_chunk(); ++i)
                    keys.set(position(g, c) + i, rule == trim_rule::prefix
                                                     ? c >= needed_from(g, longest_) && c < longest_
                                                     : counts(rule, c));
        return keys;
    }
    [[nodiscard]] std::size_t usable_chunks(trim_rule rule) const
    {
        if (rule == trim_rule::prefix)
            return longest_;
        std::size_t n = 0;
        for (std::size_t c = 0; c < chunks_; ++c)
            n += counts(rule, c);
        return n;
    }

private:
    [[nodiscard]] bool counts(trim_rule rule, std::size_t chunk) const
    {
        return whole_everywhere(chunk) && (rule == trim_rule::sparse || whole_everywhere(0));
    }
    [[nodiscard]] bool whole_everywhere(std::size_t chunk) const
    {
        for (std::size_t g = 0; g < groups_.size(); ++g)
            if (!whole(g, chunk))
                return false;
        return true;
    }
    [[nodiscard]] bool whole(std::size_t g, std::size_t chunk) const
    {
        std::size_t there = 0;
        for (std::size_t i = 0; i < groups_[g].keys_per_chunk(); ++i)
            there += found_.test(position(g, chunk) + i);
        return there == groups_[g].keys_per_chunk();
    }
    [[nodiscard]] std::size_t needed_from(std::size_t g, std::size_t length) const
    {
        const auto window = groups_[g].window_chunks();
        return window && *window < length ? length - *window : 0;
    }
    [[nodiscard]] std::size_t position(std::size_t g, std::size_t chunk) const
    {
        std::size_t first = 0;
        for (std::size_t before = 0; before < g; ++before)
            first += groups_[before].keys().size();
        return first + chunk * groups_[g].keys_per_chunk();
    }

    const std::vector<key_group>& groups_;
    const bitmap& found_;
    std::size_t chunks_ = 0;
    std::size_t longest_ = 0;
};

} // namespace

TEST_CASE("trim: what a rule keeps of one group with a gap")
{
    const std::vector<key_group> one{group(5)};
    SUBCASE("prefix: what is before the first gap")
    {
        CHECK(shape(one).usable(bits("11011")) == bits("11000"));
        CHECK(shape(one).hits(bits("11011")) == 2);
        CHECK(shape(one).usable_chunks(bits("11011")) == 2);
        CHECK(shape(one).usable(bits("01111")).none());
        CHECK(shape(one).usable(bits("11111")).all());
    }
    SUBCASE("segmented_prefix: what is behind the gap as well")
    {
        const auto segmented = shape(one, trim_rule::segmented_prefix);
        CHECK(segmented.usable(bits("11011")) == bits("11011"));
        CHECK(segmented.hits(bits("11011")) == 2);
        CHECK(segmented.usable_chunks(bits("11011")) == 4);
    }
    SUBCASE("segmented_prefix: nothing if the first chunk is missing")
    {
        const auto segmented = shape(one, trim_rule::segmented_prefix);
        CHECK(segmented.usable(bits("01111")).none());
        CHECK(segmented.hits(bits("01111")) == 0);
        CHECK(segmented.usable_chunks(bits("01111")) == 0);
    }
    SUBCASE("sparse: all that was found")
    {
        const auto sparse = shape(one, trim_rule::sparse);
        CHECK(sparse.usable(bits("01011")) == bits("01011"));
        CHECK(sparse.hits(bits("01011")) == 0);
        CHECK(sparse.usable_chunks(bits("01011")) == 3);
    }
}

TEST_CASE("trim: a chunk of several keys counts only when all of them are there")
{
    const std::vector<key_group> ranks{group(6).set_keys_per_chunk(2)};
    CHECK(shape(ranks).chunks() == 3);
    CHECK(shape(ranks).usable(bits("11 10 11")) == bits("11 00 00"));
    CHECK(shape(ranks).hits(bits("11 10 11")) == 1);
    CHECK(shape(ranks).usable(bits("10 11 11")).none());
    CHECK(shape(ranks, trim_rule::sparse).usable(bits("10 11 01")) == bits("00 11 00"));
    CHECK(shape(ranks, trim_rule::sparse).usable_chunks(bits("10 11 01")) == 1);
    CHECK(shape(ranks, trim_rule::segmented_prefix).usable(bits("11 01 11")) == bits("11 00 11"));
    CHECK(shape(ranks, trim_rule::segmented_prefix).usable(bits("01 11 11")).none());
}

TEST_CASE("trim: a chunk counts only when every group has it")
{
    const std::vector<key_group> two{group(4), group(8).set_keys_per_chunk(2)};
    CHECK(shape(two).usable(bits("1111 11 11 10 11")) == bits("1100 11 11 00 00"));
    CHECK(shape(two).hits(bits("1011 11 11 11 11")) == 1);
    CHECK(shape(two, trim_rule::sparse).usable(bits("1011 11 11 10 11")) == bits("1001 11 00 00 11"));
    CHECK(shape(two, trim_rule::segmented_prefix).usable(bits("1011 01 11 11 11")).none());
}

TEST_CASE("trim: of a group with a sliding window only the window at the prefix's end is kept")
{
    const std::vector<key_group> hybrid{group(5), group(5).set_window_chunks(2)};
    SUBCASE("all found: the rest of the window's group is not needed")
    {
        CHECK(shape(hybrid).usable(bits("11111 11111")) == bits("11111 00011"));
        CHECK(shape(hybrid).hits(bits("11111 11111")) == 5);
        CHECK(shape(hybrid).usable_chunks(bits("11111 11111")) == 5);
    }
    SUBCASE("a gap before the window costs nothing")
    {
        CHECK(shape(hybrid).usable(bits("11111 00011")) == bits("11111 00011"));
    }
    SUBCASE("a gap within the window ends the prefix before the gap")
    {
        CHECK(shape(hybrid).usable(bits("11111 11101")) == bits("11100 01100"));
    }
    SUBCASE("a gap in the full group moves the window")
    {
        CHECK(shape(hybrid).usable(bits("11101 11111")) == bits("11100 01100"));
        CHECK(shape(hybrid).usable(bits("11101 00011")).none());
    }
    SUBCASE("a prefix that is shorter than the window needs all of it")
    {
        CHECK(shape(hybrid).usable(bits("10000 11111")) == bits("10000 10000"));
        CHECK(shape(hybrid).usable(bits("10000 01111")).none());
    }
    SUBCASE("a longer prefix may be usable where a shorter one is not")
    {
        CHECK(shape(hybrid).hits(bits("11100 01100")) == 3);
        CHECK(shape(hybrid).hits(bits("11100 01000")) == 0);
    }
}

TEST_CASE("trim: windows of their own")
{
    const std::vector<key_group> windows{group(4).set_window_chunks(1), group(4).set_window_chunks(3)};
    CHECK(shape(windows).usable(bits("0001 0111")) == bits("0001 0111"));
    CHECK(shape(windows).usable(bits("0011 1110")) == bits("0010 1110"));
    CHECK(shape(windows).usable(bits("1101 1111")) == bits("0001 0111"));
    const std::vector<key_group> wide{group(3).set_window_chunks(9)};
    CHECK(shape(wide).usable(bits("110")) == bits("110"));
    CHECK(shape(wide).usable(bits("011")).none());
}

TEST_CASE("trim: where the groups' keys lie in the request")
{
    const std::vector<key_group> groups{group(4).set_keys_per_chunk(2), group(2), group(6).set_keys_per_chunk(3)};
    const auto s = shape(groups);
    CHECK(s.groups() == 3);
    CHECK(s.keys() == 12);
    CHECK(s.chunks() == 2);
    CHECK(s.first_key(0) == 0);
    CHECK(s.first_key(1) == 4);
    CHECK(s.first_key(2) == 6);
    CHECK(s.first_key(3) == 12);
    for (std::size_t key = 0; key < s.keys(); ++key) {
        CAPTURE(key);
        CHECK(s.group_of(key) == (key < 4 ? 0 : key < 6 ? 1 : 2));
    }
}

TEST_CASE("trim: a request of no keys has no hits")
{
    for (trim_rule rule : all_rules) {
        CHECK(request_shape{0, rule}.hits(bitmap{}) == 0);
        CHECK(shape({group(0), group(0)}, rule).usable(bitmap{}).size() == 0);
        CHECK(shape({group(0), group(0)}, rule).usable_chunks(bitmap{}) == 0);
    }
}

TEST_CASE("trim: a request that makes no sense is refused, with the value")
{
    const auto refused = [](std::vector<key_group> groups, const char* why, trim_rule rule = trim_rule::prefix) {
        CHECK_THROWS_WITH_AS((void)shape(groups, rule), why, std::invalid_argument);
    };
    refused({}, "a request of 0 key groups; expected at least 1");
    refused({group(2), group(2).set_keys_per_chunk(0)}, "key group 1: 0 keys per chunk; expected at least 1");
    refused({group(5).set_keys_per_chunk(2)}, "key group 0: 5 keys; expected a multiple of 2, its keys per chunk");
    refused({group(4), group(4).set_keys_per_chunk(2)}, "key group 1: 2 chunks; expected 4, as key group 0 has");
    refused({group(2).set_window_chunks(0)},
            "key group 0: a window of 0 chunks; expected at least 1, or none for full attention");
    refused({group(2), group(2).set_window_chunks(3)},
            "key group 1: a window of 3 chunks under trim rule sparse; expected the rule prefix, or full attention",
            trim_rule::sparse);
    refused({group(2).set_window_chunks(1)},
            "key group 0: a window of 1 chunks under trim rule segmented_prefix; expected the rule prefix, or full "
            "attention",
            trim_rule::segmented_prefix);
}

TEST_CASE("trim: it is as the rules are defined, whatever is found")
{
    const std::uint32_t seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random{seed};
    const auto up_to = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>{0, n}(random); };
    for (std::size_t round = 0; round < 6000; ++round) {
        CAPTURE(round);
        // Mostly few chunks, so that every pattern comes up; sometimes more than a word, or than a bitmap's own room.
        const std::size_t chunks = round % 50 != 0 ? up_to(7) : up_to(150);
        const trim_rule rule = std::data(all_rules)[up_to(2)];
        std::vector<key_group> groups;
        for (std::size_t g = 0, n = 1 + up_to(2); g < n; ++g) {
            const std::size_t k = 1 + up_to(2);
            groups.push_back(group(chunks * k).set_keys_per_chunk(k));
            if (rule == trim_rule::prefix && up_to(1) == 0)
                groups.back().set_window_chunks(1 + up_to(chunks));
        }
        const auto s = shape(groups, rule);
        bitmap found{s.keys(), true};
        const std::size_t gaps = up_to(3) * s.keys() / 4;
        for (std::size_t i = 0; i < std::max(gaps, round % 3) && s.keys() != 0; ++i)
            found.set(up_to(s.keys() - 1), false);

        const by_definition expected{groups, found};
        const bitmap usable = s.usable(found);
        REQUIRE(usable == expected.usable(rule));
        REQUIRE(s.usable_chunks(found) == expected.usable_chunks(rule));
        REQUIRE((usable - found).none());
        REQUIRE(s.usable(usable) == usable);
        REQUIRE(s.hits(usable) == s.hits(found));
        REQUIRE(s.usable_chunks(usable) == s.usable_chunks(found));
        REQUIRE(s.hits(found) == expected.longest());
        if (groups.size() == 1 && groups[0].keys_per_chunk() == 1 && !groups[0].window_chunks())
            REQUIRE(request_shape{s.keys(), rule}.usable(found) == usable);
    }
}
