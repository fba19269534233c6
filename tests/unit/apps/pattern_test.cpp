#include <algorithm>
#include <array>
#include <cstdint>
#include <doctest/doctest.h>
#include <span>
#include <vector>

#include "replay/pattern.hpp"

using namespace terrace;
using namespace terrace::replay;

namespace {

object_key key(std::uint64_t id, std::uint32_t rank = 0)
{
    return object_key{"replay", chunk_hash::from_number(id), rank};
}

std::vector<std::byte> pattern(const object_key& k, std::size_t bytes)
{
    std::vector<std::byte> filled(bytes);
    fill_pattern(k, filled);
    return filled;
}

} // namespace

TEST_CASE("pattern: what was filled is found as it was, at any size")
{
    for (std::size_t size : {1U, 7U, 8U, 9U, 4096U, 4097U}) {
        CAPTURE(size);
        CHECK_FALSE(find_mismatch(key(1), pattern(key(1), size)));
    }
}

TEST_CASE("pattern: any one flipped bit is found, in the word that holds it")
{
    const std::size_t size = 67;
    for (std::size_t at = 0; at < size; ++at)
        for (int bit = 0; bit < 8; ++bit) {
            auto bytes = pattern(key(1), size);
            bytes[at] ^= std::byte{1} << bit;
            CHECK(find_mismatch(key(1), bytes) == at / 8 * 8);
        }
}

TEST_CASE("pattern: the bytes of another key, of another size or of none are not taken for these")
{
    const std::size_t size = 256;
    CHECK(find_mismatch(key(1), pattern(key(2), size)) == 0);
    CHECK(find_mismatch(key(1), pattern(key(1, 1), size)) == 0);
    CHECK(find_mismatch(key(1), pattern(object_key{"other", chunk_hash::from_number(1)}, size)) == 0);
    CHECK(find_mismatch(key(1), std::vector<std::byte>(size)) == 0);
    const auto larger = pattern(key(1), 2 * size);
    CHECK(find_mismatch(key(1), std::span{larger}.first(size)) == 0);
}

TEST_CASE("pattern: it is the same in every process and release, for stores outlive both")
{
    std::array<std::uint64_t, 2> words;
    fill_pattern(key(1), std::as_writable_bytes(std::span{words}));
    CHECK(words == std::array<std::uint64_t, 2>{0x62cd7cb07ee9eb52U, 0xd135403379fccb13U});
}
