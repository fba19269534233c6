#include <algorithm>
#include <doctest/doctest.h>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <terrace/bitmap.hpp>

namespace {

using terrace::bitmap;

/// A bitmap as it reads from left to right: "1101" has bits 0, 1 and 3 set.
bitmap bits(std::string_view text)
{
    bitmap b{text.size()};
    for (std::size_t i = 0; i < text.size(); ++i)
        b.set(i, text[i] == '1');
    return b;
}

std::vector<std::size_t> set_bits(const bitmap& b)
{
    std::vector<std::size_t> indexes;
    b.for_each_set([&](std::size_t i) { indexes.push_back(i); });
    return indexes;
}

} // namespace

TEST_CASE("bitmap: a new one has no bits, or those it is told to have")
{
    CHECK(bitmap{}.size() == 0);
    CHECK(bitmap{70}.none());
    CHECK(bitmap{70}.size() == 70);
    CHECK(bitmap{70, true}.all());
    CHECK(bitmap{70, true}.count() == 70);
    CHECK(bitmap::first(3, 5) == bits("11100"));
    CHECK(bitmap::first(9, 5) == bits("11111"));
}

TEST_CASE("bitmap: the empty one has nothing set and nothing missing")
{
    bitmap b;
    CHECK(b.none());
    CHECK(b.all());
    CHECK(b.count() == 0);
    CHECK(b.leading() == 0);
    CHECK(~b == b);
}

TEST_CASE("bitmap: a bit that is set is set alone")
{
    for (std::size_t i : {0U, 1U, 62U, 63U, 64U, 65U, 127U, 128U, 255U, 256U, 299U}) {
        CAPTURE(i);
        bitmap b{300};
        b.set(i);
        CHECK(b.test(i));
        CHECK(set_bits(b) == std::vector<std::size_t>{i});
        b.set(i, false);
        CHECK(b.none());
    }
}

TEST_CASE("bitmap: leading counts the bits before the first gap")
{
    CHECK(bits("").leading() == 0);
    CHECK(bits("0").leading() == 0);
    CHECK(bits("0111").leading() == 0);
    CHECK(bits("1101").leading() == 2);
    CHECK(bits("1111").leading() == 4);
    for (std::size_t size : {1U, 63U, 64U, 65U, 128U, 129U, 300U})
        for (std::size_t gap = 0; gap < size; ++gap) {
            CAPTURE(size);
            CAPTURE(gap);
            bitmap b{size, true};
            b.set(gap, false);
            CHECK(b.leading() == gap);
            CHECK_FALSE(b.all());
        }
}

TEST_CASE("bitmap: keep_first clears what comes after, and nothing before")
{
    for (std::size_t size : {1U, 63U, 64U, 65U, 128U, 300U})
        for (std::size_t n = 0; n <= size + 1; ++n) {
            CAPTURE(size);
            CAPTURE(n);
            bitmap b{size, true};
            b.keep_first(n);
            CHECK(b.count() == std::min(n, size));
            CHECK(b.leading() == std::min(n, size));
        }
}

TEST_CASE("bitmap: set operations work bit by bit")
{
    CHECK((bits("1100") | bits("1010")) == bits("1110"));
    CHECK((bits("1100") & bits("1010")) == bits("1000"));
    CHECK((bits("1100") - bits("1010")) == bits("0100"));
    CHECK(~bits("1100") == bits("0011"));
}

TEST_CASE("bitmap: a complement has no bits past its size")
{
    bitmap b = ~bitmap{65};
    CHECK(b.count() == 65);
    CHECK(b == bitmap{65, true});
    CHECK((~b).none());
}

TEST_CASE("bitmap: bitmaps of different sizes are different, and do not mix")
{
    CHECK(bitmap{3} != bitmap{4});
    bitmap b{3, true};
    CHECK_THROWS_WITH_AS(b |= bitmap{4}, "bitmap: sizes differ: 3 and 4", std::out_of_range);
    CHECK_THROWS_AS(b &= bitmap{2}, std::out_of_range);
    CHECK_THROWS_AS(b -= bitmap{0}, std::out_of_range);
    CHECK(b == bitmap{3, true});
}

TEST_CASE("bitmap: an index past the end throws and names itself")
{
    bitmap b{64};
    CHECK_THROWS_WITH_AS(b.set(64), "bitmap: index 64 of 64 bits", std::out_of_range);
    CHECK_THROWS_AS((void)b.test(64), std::out_of_range);
    CHECK_THROWS_AS((void)bitmap{}.test(0), std::out_of_range);
    CHECK(b.none());
}

TEST_CASE("bitmap: it keeps its bits when it is copied, moved and larger than its own room")
{
    for (std::size_t size : {10U, 256U, 257U, 5000U}) {
        CAPTURE(size);
        bitmap from{size};
        from.set(size - 1);
        bitmap copy = from;
        bitmap moved = std::move(from);
        CHECK(set_bits(copy) == std::vector<std::size_t>{size - 1});
        CHECK(copy == moved);
    }
}

TEST_CASE("gather: the items whose bit is set come in order")
{
    std::vector<std::string> items{"a", "b", "c", "d"};
    std::span<const std::string> all{items};
    CHECK(terrace::gather<std::vector<std::string>>(all, bits("1011")) == std::vector<std::string>{"a", "c", "d"});
    CHECK(terrace::gather<std::vector<std::string>>(all, bits("0000")).empty());
}
