#include <doctest/doctest.h>
#include <stdexcept>
#include <vector>

#include <terrace/memory_layout.hpp>

namespace {

using terrace::dtype;
using terrace::memory_layout;
using terrace::tensor;

memory_layout one(std::vector<std::uint64_t> shape, dtype type)
{
    return memory_layout{{tensor{std::move(shape), type}}};
}

constexpr std::uint64_t limit = std::uint64_t{1} << 62;

} // namespace

TEST_CASE("memory_layout: every type has its size")
{
    struct row {
        dtype type;
        std::uint32_t bytes;
    };
    for (const row& r :
         {row{dtype::u8, 1}, row{dtype::i8, 1}, row{dtype::f8_e4m3, 1}, row{dtype::f8_e5m2, 1}, row{dtype::f16, 2},
          row{dtype::bf16, 2}, row{dtype::i32, 4}, row{dtype::f32, 4}, row{dtype::i64, 8}, row{dtype::f64, 8}}) {
        CAPTURE(r.bytes);
        CHECK(terrace::element_bytes(r.type) == r.bytes);
        CHECK(one({3, 5}, r.type).size_bytes() == 15 * r.bytes);
    }
}

TEST_CASE("memory_layout: tensors lie back to back")
{
    memory_layout layout{{tensor{{2, 16, 8, 128}, dtype::bf16}, tensor{{3}, dtype::f8_e4m3}}};
    CHECK(layout.size_bytes() == 2 * 16 * 8 * 128 * 2 + 3);
    REQUIRE(layout.tensors().size() == 2);
    CHECK(layout.tensors()[1] == tensor{{3}, dtype::f8_e4m3});
}

TEST_CASE("memory_layout: a tensor without dimensions is one element")
{
    CHECK(one({}, dtype::f32).size_bytes() == 4);
}

TEST_CASE("memory_layout: the empty layout has no bytes, however it was made")
{
    CHECK(memory_layout{}.size_bytes() == 0);
    CHECK(memory_layout{}.tensors().empty());
    CHECK(memory_layout::bytes(0) == memory_layout{});
    CHECK(memory_layout{std::vector<tensor>{}} == memory_layout{});
}

TEST_CASE("memory_layout: bytes(n) is one tensor of n bytes")
{
    auto layout = memory_layout::bytes(4096);
    CHECK(layout.size_bytes() == 4096);
    CHECK(layout == one({4096}, dtype::u8));
}

// These were computed by another program from the documented form. They stand in stores: they may never change.
TEST_CASE("memory_layout: the fingerprint is the same in every process, on every machine, for ever")
{
    CHECK(memory_layout::bytes(4096).fingerprint() == 0xb74a2a57fa617a5c);
    CHECK(memory_layout{{tensor{{2, 16, 8, 128}, dtype::bf16}, tensor{{3}, dtype::f8_e4m3}}}.fingerprint() ==
          0x8230bfe6e3270580);
}

TEST_CASE("memory_layout: layouts that differ in anything are different, be they of one size")
{
    const memory_layout layouts[] = {
        one({4, 6}, dtype::f16),
        one({6, 4}, dtype::f16),
        one({24}, dtype::f16),
        one({1, 24}, dtype::f16),
        one({24}, dtype::bf16),
        one({48}, dtype::u8),
        one({48}, dtype::i8),
        memory_layout{{tensor{{12}, dtype::f16}, tensor{{12}, dtype::f16}}},
        memory_layout{{tensor{{8}, dtype::f16}, tensor{{16}, dtype::f16}}},
        memory_layout{{tensor{{16}, dtype::f16}, tensor{{8}, dtype::f16}}},
    };
    for (std::size_t i = 0; i < std::size(layouts); ++i)
        for (std::size_t j = 0; j < std::size(layouts); ++j) {
            CAPTURE(i);
            CAPTURE(j);
            CHECK(layouts[i].size_bytes() == 48);
            CHECK((layouts[i] == layouts[j]) == (i == j));
        }
}

TEST_CASE("memory_layout: an extent of 0 is refused, with its place")
{
    CHECK_THROWS_WITH_AS((memory_layout{{tensor{{2}, dtype::u8}, tensor{{4, 0}, dtype::u8}}}),
                         "memory_layout: tensor 1: dimension 1 is 0", std::invalid_argument);
    CHECK_THROWS_AS(one({0, limit, limit}, dtype::f64), std::invalid_argument);
}

TEST_CASE("memory_layout: 2^62 bytes are a layout, one more is not")
{
    CHECK(memory_layout::bytes(limit).size_bytes() == limit);
    CHECK(one({limit / 8}, dtype::f64).size_bytes() == limit);
    CHECK_THROWS_WITH_AS((void)memory_layout::bytes(limit + 1), "memory_layout: tensor 0 is larger than 2^62 bytes",
                         std::invalid_argument);
    CHECK_THROWS_AS((void)memory_layout::bytes(~std::uint64_t{0}), std::invalid_argument);
    CHECK_THROWS_AS(one({limit / 8 + 1}, dtype::f64), std::invalid_argument);
    CHECK_THROWS_AS(one({std::uint64_t{1} << 32, std::uint64_t{1} << 32}, dtype::u8), std::invalid_argument); // 2^64
    CHECK_THROWS_WITH_AS((memory_layout{{tensor{{limit}, dtype::u8}, tensor{{1}, dtype::u8}}}),
                         "memory_layout: the tensors together are larger than 2^62 bytes", std::invalid_argument);
}

TEST_CASE("memory_layout: a type that is none is refused")
{
    CHECK_THROWS_WITH_AS(one({1}, static_cast<dtype>(200)), "memory_layout: tensor 0: dtype 200 is unknown",
                         std::invalid_argument);
}

TEST_CASE("memory_layout: copies share one description")
{
    auto layout = one({2, 3}, dtype::f16);
    memory_layout copy = layout; // NOLINT: the copy is what is tested
    CHECK(copy == layout);
    CHECK(copy.tensors().data() == layout.tensors().data());
}
