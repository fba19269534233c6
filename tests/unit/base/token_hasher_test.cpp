#include <doctest/doctest.h>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include <terrace/token_hasher.hpp>

namespace {

using terrace::token_hasher;
using tokens = std::vector<token_hasher::token>;

std::string hex(const terrace::chunk_hash& hash)
{
    std::string text = terrace::object_key{"m", hash}.to_string();
    return text.substr(text.rfind('@') + 1);
}

tokens counting(std::size_t n)
{
    tokens t(n);
    std::iota(t.begin(), t.end(), 0U);
    return t;
}

} // namespace

// These were computed with sha256sum from the documented form. Stores are full of them: they may never change.
TEST_CASE("token_hasher: the chain is SHA-256 over the previous hash and little-endian tokens")
{
    token_hasher hasher{4};
    auto chain = hasher.hashes(tokens{1, 2, 3, 4, 5, 6, 7, 0xffffffff, 0, 0x100, 0x10000, 0x1000000});
    REQUIRE(chain.size() == 3);
    CHECK(hex(chain[0]) == "58c600632302d9313f1d69208f2d21a8a466a91d94ed2d634d5a908e329bd00d");
    CHECK(hex(chain[1]) == "59f18efbb7efc2ada0c522656e36757bddef92c71245213ec8895a13a8c72825");
    CHECK(hex(chain[2]) == "031a90c3c7091a02cb807630b0a74fc48f955f750db046b25526748b4b779c21");
}

TEST_CASE("token_hasher: only full chunks have a hash")
{
    token_hasher hasher{4};
    auto prompt = counting(12);
    for (std::size_t n = 0; n <= prompt.size(); ++n) {
        CAPTURE(n);
        CHECK(hasher.hashes(std::span{prompt}.first(n)).size() == n / 4);
    }
    CHECK(token_hasher{}.chunk_tokens() == 256);
    CHECK(token_hasher{0xffffffff}.hashes(prompt).empty()); // and needs no memory for a chunk that is not there
}

TEST_CASE("token_hasher: a hash depends on every token before it, and on none after it")
{
    token_hasher hasher{4};
    const auto prompt = counting(16);
    const auto chain = hasher.hashes(prompt);
    for (std::size_t i = 0; i < prompt.size(); ++i) {
        CAPTURE(i);
        auto other = prompt;
        other[i] += 1000;
        auto changed = hasher.hashes(other);
        for (std::size_t chunk = 0; chunk < chain.size(); ++chunk)
            CHECK((changed[chunk] == chain[chunk]) == (chunk < i / 4));
    }
}

TEST_CASE("token_hasher: equal chunks after different prefixes are different")
{
    auto chain = token_hasher{2}.hashes(tokens{5, 6, 5, 6, 5, 6});
    CHECK(chain[0] != chain[1]);
    CHECK(chain[1] != chain[2]);
}

TEST_CASE("token_hasher: chunks of different lengths never meet")
{
    auto prompt = counting(12);
    for (const auto& two : token_hasher{2}.hashes(prompt))
        for (const auto& four : token_hasher{4}.hashes(prompt))
            CHECK(two != four);
}

TEST_CASE("token_hasher: keys are the hashes with the other parts of the key")
{
    token_hasher hasher{4};
    auto prompt = counting(9);
    auto chain = hasher.hashes(prompt);
    auto keys = hasher.keys(prompt, "m", 1, 2, "s");
    REQUIRE(keys.size() == 2);
    CHECK(keys[0] == terrace::object_key{"m", chain[0], 1, 2, "s"});
    CHECK(keys[1] == terrace::object_key{"m", chain[1], 1, 2, "s"});
}

TEST_CASE("token_hasher: a bad argument throws, however short the prompt is")
{
    CHECK_THROWS_WITH_AS(token_hasher{0}, "token_hasher: 0 tokens in a chunk; at least 1 was expected",
                         std::invalid_argument);
    CHECK_THROWS_AS((void)token_hasher{}.keys({}, ""), std::invalid_argument);
    CHECK_THROWS_AS((void)token_hasher{}.keys({}, "m", 0, 0, "a/b"), std::invalid_argument);
}
