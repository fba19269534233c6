#include <array>
#include <doctest/doctest.h>
#include <latch>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <vector>

#include <terrace/object_key.hpp>

#include "base/intern_table.hpp"

namespace {

using terrace::chunk_hash;
using terrace::object_key;

chunk_hash digest(std::initializer_list<int> values)
{
    std::vector<std::byte> bytes;
    for (int v : values)
        bytes.push_back(static_cast<std::byte>(v));
    return chunk_hash{bytes};
}

const chunk_hash h = chunk_hash::from_number(7);

} // namespace

TEST_CASE("chunk_hash: 1 to 32 bytes are a hash, no other number is")
{
    std::array<std::byte, 33> bytes{};
    CHECK_THROWS_WITH_AS(chunk_hash{std::span{bytes}.first(0)},
                         "chunk_hash: a digest of 0 bytes; 1 to 32 were expected", std::invalid_argument);
    CHECK_THROWS_AS(chunk_hash{std::span{bytes}}, std::invalid_argument);
    CHECK(chunk_hash{std::span{bytes}.first(1)}.bytes().size() == 1);
    CHECK(chunk_hash{std::span{bytes}.first(32)}.bytes().size() == 32);
    CHECK(chunk_hash{}.empty());
    CHECK_FALSE(h.empty());
}

TEST_CASE("chunk_hash: hashes of different lengths are different")
{
    CHECK(digest({0}) != digest({0, 0}));
    CHECK(digest({1, 0}) != digest({1}));
    CHECK(chunk_hash{} != digest({0}));
    CHECK(digest({1, 2}) == digest({1, 2}));
}

TEST_CASE("chunk_hash: a number reads from its most significant byte")
{
    CHECK(chunk_hash::from_number(0x0102030405060708) == digest({1, 2, 3, 4, 5, 6, 7, 8}));
    CHECK(object_key("m", chunk_hash::from_number(0xab)).to_string() == "m@00000000@0000@00000000000000ab");
}

TEST_CASE("object_key: it gives back what it was made of")
{
    object_key key{"llama/3 8B", h, 0xdeadbeef, 0xffff, "tenant 1"};
    CHECK(key.model() == "llama/3 8B");
    CHECK(key.hash() == h);
    CHECK(key.kv_rank() == 0xdeadbeef);
    CHECK(key.group() == 0xffff);
    CHECK(key.cache_salt() == "tenant 1");
    CHECK_FALSE(key.empty());
    CHECK(object_key{"m", h}.cache_salt().empty());
}

TEST_CASE("object_key: the empty key has no part")
{
    object_key key;
    CHECK(key.empty());
    CHECK(key.model().empty());
    CHECK(key.cache_salt().empty());
    CHECK(key == object_key{});
}

TEST_CASE("object_key: all five parts take part in equality")
{
    const object_key key{"m", h, 1, 2, "s"};
    CHECK(key == object_key{"m", h, 1, 2, "s"});
    CHECK(key != object_key{"n", h, 1, 2, "s"});
    CHECK(key != object_key{"m", chunk_hash::from_number(8), 1, 2, "s"});
    CHECK(key != object_key{"m", h, 0, 2, "s"});
    CHECK(key != object_key{"m", h, 1, 0, "s"});
    CHECK(key != object_key{"m", h, 1, 2, "t"});
    CHECK(key != object_key{"m", h, 1, 2});
    CHECK(object_key{"a", h, 0, 0, "b"} != object_key{"b", h, 0, 0, "a"});
}

TEST_CASE("object_key: equal keys have equal hash codes, and similar ones do not collide")
{
    CHECK(object_key{"m", h}.hash_code() == object_key{"m", h}.hash_code());
    std::set<std::size_t> codes;
    for (std::uint64_t n = 0; n < 1000; ++n)
        for (std::uint32_t rank = 0; rank < 8; ++rank)
            codes.insert(std::hash<object_key>{}(object_key{"m", chunk_hash::from_number(n), rank}));
    CHECK(codes.size() == 8000);
}

TEST_CASE("object_key: with_hash changes the hash and nothing else")
{
    object_key key{"m", h, 1, 2, "s"};
    CHECK(key.with_hash(chunk_hash::from_number(8)) == object_key{"m", chunk_hash::from_number(8), 1, 2, "s"});
    CHECK(key == object_key{"m", h, 1, 2, "s"});
    CHECK(key.with_hash({}).empty());
}

TEST_CASE("object_key: what can not be a key is refused, and named")
{
    auto refused = [](std::string_view model, std::string_view salt, const char* because) {
        CAPTURE(because);
        CHECK_THROWS_WITH_AS(object_key(model, h, 0, 0, salt), because, std::invalid_argument);
    };
    refused("", "", "object_key: a model name of 0 bytes; 1 to 255 were expected");
    refused(std::string(256, 'm'), "", "object_key: a model name of 256 bytes; 1 to 255 were expected");
    refused("m", std::string(129, 's'), "object_key: a cache salt of 129 bytes; at most 128 were expected");
    refused("a@b", "",
            "object_key: model name \"a%40b\" has the byte 0x40 at 1; @ and control characters must not be in it");
    refused("m\n", "",
            "object_key: model name \"m%0a\" has the byte 0x0a at 1; @ and control characters must not be in it");
    refused("m", "../s",
            "object_key: cache salt \"..%2fs\" has the byte 0x2f at 2; @/\\ and control characters must not be in it");
    for (std::string_view salt : {"a@b", "a\\b", "\x1f", "\x7f"}) {
        CAPTURE(salt);
        CHECK_THROWS_AS(object_key("m", h, 0, 0, salt), std::invalid_argument);
    }
    CHECK_THROWS_AS(object_key("m", h, 0, 0, std::string_view{"\0", 1}), std::invalid_argument);
    CHECK_THROWS_WITH_AS(object_key("m", chunk_hash{}), "object_key: the chunk hash is empty", std::invalid_argument);
}

TEST_CASE("object_key: the longest model and salt are keys")
{
    std::string model(255, '/');
    std::string salt(128, ' ');
    object_key key{model, h, 0, 0, salt};
    CHECK(key.model() == model);
    CHECK(key.cache_salt() == salt);
    CHECK(object_key::parse(key.to_string()).value() == key);
}

TEST_CASE("object_key: the text is a safe file name, and reads back as the key")
{
    struct row {
        object_key key;
        std::string text;
    };
    for (const row& r : {
             row{{"m", h}, "m@00000000@0000@0000000000000007"},
             row{{"m", h, 1, 2, "s"}, "m@00000001@0002@0000000000000007@s"},
             row{{"m", h, 0xffffffff, 0xffff}, "m@ffffffff@ffff@0000000000000007"},
             row{{"meta-llama/Llama-3.1_8B", h}, "meta-llama%2fLlama-3.1_8B@00000000@0000@0000000000000007"},
             row{{"..", h, 0, 0, "."}, "..@00000000@0000@0000000000000007@."},
             row{{"100%", h, 0, 0, "a b+c"}, "100%25@00000000@0000@0000000000000007@a%20b%2bc"},
             row{{"\xc3\xa9", digest({0xff})}, "%c3%a9@00000000@0000@ff"},
         }) {
        CAPTURE(r.text);
        CHECK(r.key.to_string() == r.text);
        CHECK(object_key::parse(r.text).value() == r.key);
    }
}

TEST_CASE("object_key: every character that a model or a salt may have survives the text")
{
    for (int c = 1; c < 256; ++c) {
        if (c < 0x20 || c == 0x7f || c == '@')
            continue;
        CAPTURE(c);
        std::string one(1, static_cast<char>(c));
        object_key key{one, h, 0, 0, c == '/' || c == '\\' ? "" : one};
        CHECK(object_key::parse(key.to_string()).value() == key);
        CHECK(key.to_string().find_first_of("/\\: \"*?<>|\n") == std::string::npos);
    }
}

TEST_CASE("object_key: a hash of any length survives the text")
{
    std::array<std::byte, 32> bytes;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = static_cast<std::byte>(0xf7 * i);
    for (std::size_t size = 1; size <= bytes.size(); ++size) {
        CAPTURE(size);
        object_key key{"m", chunk_hash{std::span{bytes}.first(size)}};
        CHECK(object_key::parse(key.to_string()).value() == key);
    }
}

TEST_CASE("object_key: parse takes what to_string gives, and nothing else")
{
    using namespace std::string_view_literals;
    const std::string long_hash = "m@00000000@0000@" + std::string(66, '0'); // 33 bytes
    const std::string long_model = object_key{"m", h}.to_string().insert(0, 255, 'm');
    const std::string long_salt = "m@00000000@0000@07@" + std::string(129, 's');
    for (std::string_view text : {
             ""sv,
             "@"sv,
             "@@@"sv,
             "m"sv,
             "m@00000000@0000"sv,
             "m@00000000@0000@"sv,
             "@00000000@0000@07"sv,   // no model
             "m@0000000@0000@07"sv,   // a short rank
             "m@000000000@0000@07"sv, // a long one
             "m@0000000g@0000@07"sv,  // no number
             "m@0000000A@0000@07"sv,  // upper case
             "m@-0000001@0000@07"sv,  // a sign
             "m@0x000001@0000@07"sv,  // a prefix
             "m@ 0000001@0000@07"sv,  // a space
             "m@00000000@000@07"sv,   // a short group
             "m@00000000@00000@07"sv, // a long one
             "m@00000000@0000@7"sv,   // half a byte
             "m@00000000@0000@0G"sv,  // no byte
             "m@00000000@0000@0A"sv,  // upper case
             std::string_view{long_hash},
             "m@00000000@0000@07@"sv,   // an empty salt has no '@'
             "m@00000000@0000@07@s@"sv, // a sixth part
             "m@00000000@0000@07@s@t"sv,
             "m@00000000@0000@07\n"sv,
             " m@00000000@0000@07"sv,
             "m/n@00000000@0000@07"sv,     // must be escaped
             "m%2Fn@00000000@0000@07"sv,   // upper case
             "%6d@00000000@0000@07"sv,     // must not be escaped
             "m%@00000000@0000@07"sv,      // half an escape
             "m%2@00000000@0000@07"sv,     // half an escape
             "m%0a@00000000@0000@07"sv,    // a control character
             "m%40@00000000@0000@07"sv,    // '@'
             "m@00000000@0000@07@a%2fb"sv, // '/' in the salt
             "m@00000000@0000@07@a%5cb"sv, // '\' in the salt
             "m\0@00000000@0000@07"sv,
             std::string_view{long_model},
             std::string_view{long_salt},
         }) {
        CAPTURE(text);
        auto key = object_key::parse(text);
        REQUIRE(key.has_error());
        CHECK(key.error() == terrace::errc::malformed_key);
    }
}

TEST_CASE("object_key: a changed text is malformed or the text of another key")
{
    const std::uint64_t seed = 20240607;
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    const std::string text = object_key{"a/b", h, 1, 2, "s t"}.to_string();
    const std::string characters = "0a%@/S2f";
    for (int i = 0; i < 20000; ++i) {
        std::string changed = text;
        for (auto n = random() % 3 + 1; n > 0; --n) {
            auto at = random() % changed.size();
            if (random() % 3 == 0)
                changed.erase(at, 1);
            else if (random() % 2 == 0)
                changed.insert(at, 1, characters[random() % characters.size()]);
            else
                changed[at] = characters[random() % characters.size()];
        }
        if (auto key = object_key::parse(changed); key.has_value())
            CHECK(key->to_string() == changed);
    }
}

TEST_CASE("object_key: threads that intern the same names make equal keys")
{
    constexpr int threads = 4;
    constexpr int names = 500;
    std::array<std::vector<object_key>, threads> made;
    {
        std::latch start{threads};
        std::vector<std::jthread> running;
        for (auto& keys : made)
            running.emplace_back([&] {
                start.arrive_and_wait();
                for (int i = 0; i < names; ++i) {
                    auto name = "interned by all " + std::to_string(i);
                    keys.emplace_back(name, h, 0, 0, name);
                    CHECK(keys.back().model() == name);
                }
            });
    }
    for (const auto& keys : made)
        CHECK(keys == made[0]);
    CHECK(std::unordered_set<object_key>(made[0].begin(), made[0].end()).size() == names);
}

TEST_CASE("intern_table: equal strings have one number, the empty one has 0")
{
    terrace::intern_table table{10};
    CHECK(table.id("") == 0);
    CHECK(table.id("a") == 1);
    CHECK(table.id("b") == 2);
    CHECK(table.id("a") == 1);
    CHECK(table.text(0).empty());
    CHECK(table.text(2) == "b");
}

TEST_CASE("intern_table: a string never moves")
{
    terrace::intern_table table{5000};
    auto first = table.text(table.id("short"));
    for (int i = 0; i < 4000; ++i)
        table.id(std::to_string(i));
    CHECK(first == "short");
    CHECK(table.text(table.id("short")).data() == first.data());
}

TEST_CASE("intern_table: a full table takes no more, and still knows what it has")
{
    terrace::intern_table table{3};
    CHECK(table.id("a") == 1);
    CHECK(table.id("b") == 2);
    for (int i = 0; i < 2; ++i)
        CHECK_THROWS_WITH_AS(table.id("c"),
                             "object_key: there are 3 distinct model names and cache salts already, which is the limit",
                             std::length_error);
    CHECK(table.id("b") == 2);
    CHECK(table.text(1) == "a");
}

TEST_CASE("object_key: keys that differ in few bits spread over a power of two of buckets as random ones would")
{
    constexpr std::size_t buckets = 1 << 14;
    const auto used = [](auto key_of) {
        std::set<std::size_t> seen;
        for (std::uint32_t i = 0; i < buckets; ++i)
            seen.insert(key_of(i).hash_code() % buckets);
        return seen.size();
    };
    const std::size_t expected = buckets * 6 / 10; // at random: 1 - 1/e of them
    const object_key base{"m", chunk_hash::from_number(1)};
    CHECK(used([&](std::uint32_t i) { return base.with_hash(chunk_hash::from_number(i)); }) > expected);
    CHECK(used([&](std::uint32_t i) { return base.with_hash(chunk_hash::from_number(std::uint64_t{i} << 40)); }) >
          expected);
    CHECK(used([&](std::uint32_t i) { return object_key{"m", base.hash(), i}; }) > expected);
}
