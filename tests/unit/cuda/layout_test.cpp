#include "support/paged_memory.hpp"

#include <algorithm>
#include <doctest/doctest.h>
#include <map>
#include <stdexcept>

using namespace terrace;
using namespace terrace::test;
using cuda::axis;
using cuda::copy_run;
using cuda::layer_range;
using cuda::object_layout;
using cuda::object_order;
using cuda::page_layout;
using cuda::page_shape;
using cuda::paged_chunk;

namespace {

constexpr page_shape small_shape{2, 2, 8, 4, 2, 8, dtype::bf16};
const std::vector<axis> plain_order{axis::layer, axis::kv, axis::page, axis::token, axis::head, axis::element};

/// The words of what is thrown; "" if nothing is.
template <class F>
std::string refusal(F f)
{
    try {
        f();
    } catch (const std::invalid_argument& e) {
        return e.what();
    }
    return "";
}

std::string layout_refusal(page_shape shape, const std::vector<axis>& order = plain_order,
                           const std::vector<cuda::device_address>& bases = {4096})
{
    return refusal([&] { page_layout{shape, order, bases}; });
}

} // namespace

TEST_CASE("page layout: what cannot be is refused with what was given")
{
    CHECK(layout_refusal(small_shape) == "");
    auto shape = small_shape;
    shape.heads = 0;
    CHECK(layout_refusal(shape) == "page layout: the extent of head is 0; at least 1");
    shape = small_shape;
    shape.kv = 3;
    CHECK(layout_refusal(shape).starts_with("page layout: the extent of kv is 3"));
    CHECK(layout_refusal(small_shape, {axis::page, axis::page, axis::token, axis::head, axis::element}) ==
          "page layout: the order names page twice");
    CHECK(layout_refusal(small_shape, {axis::layer, axis::kv, axis::page, axis::token, axis::element}) ==
          "page layout: the order lacks head");
    CHECK(layout_refusal(small_shape, plain_order, {4096, 8192}) == "page layout: 2 addresses; 1 expected");
    CHECK(layout_refusal(small_shape, {axis::page, axis::token, axis::head, axis::element}, {4096}) ==
          "page layout: 1 addresses; 4 expected");
    CHECK(layout_refusal(small_shape, plain_order, {0}).starts_with("page layout: the address 0x0"));
    CHECK(layout_refusal(small_shape, plain_order, {4097}).starts_with("page layout: the address 0x1001"));
    shape = small_shape;
    shape.pages = shape.page_tokens = shape.heads = shape.head_dim = ~std::uint32_t{0};
    CHECK(layout_refusal(shape) == "page layout: a tensor of more than 2^62 bytes");
}

TEST_CASE("page layout: strides may leave gaps, and must not let elements overlap")
{
    const std::vector<cuda::device_address> planes{4096, 8192, 12288, 16384};
    const auto with = [&](std::uint64_t page, std::uint64_t token, std::uint64_t head, std::uint64_t element) {
        return refusal([&] { page_layout{small_shape, {page, token, head, element}, planes}; });
    };
    CHECK(with(128, 32, 16, 2) == "");
    CHECK(with(256, 64, 16, 2) == "");
    CHECK(with(128, 16, 64, 2) == ""); // heads outside of tokens
    CHECK(with(126, 32, 16, 2).starts_with("page layout: a page stride of 126 makes elements overlap; at least 128"));
    CHECK(with(128, 32, 14, 2).starts_with("page layout: a head stride of 14"));
    CHECK(with(128, 32, 16, 1).starts_with("page layout: a element stride of 1; a multiple of 2"));
    CHECK(page_layout{small_shape, {256, 64, 16, 2}, planes}.plane(3) == 16384);
}

TEST_CASE("object layout: its memory layout depends on what the bytes mean, and not on pages")
{
    const object_layout plain{16};
    CHECK(plain.size_bytes(small_shape) == 2 * 2 * 16 * 2 * 8 * 2);
    CHECK(plain.memory(small_shape).size_bytes() == plain.size_bytes(small_shape));
    auto other_pages = small_shape;
    other_pages.page_tokens = 8;
    other_pages.pages = 99;
    CHECK(plain.memory(small_shape) == plain.memory(other_pages));
    CHECK(plain.memory(small_shape) != object_layout(16, object_order::token_major, 4).memory(small_shape));
    // As many tokens as heads: the extents alone would not tell them apart.
    CHECK(object_layout(2).memory(small_shape) != object_layout(2, object_order::head_major).memory(small_shape));
    CHECK(refusal([] { object_layout{0}; }) == "object layout: 0 tokens; at least 1");
    CHECK(refusal([] { object_layout(16, object_order::token_major, 5); }) ==
          "object layout: groups of 5 tokens do not divide the object's 16");
}

TEST_CASE("paged chunk: what does not fit its layout is refused")
{
    const page_layout pages{small_shape, plain_order, {4096}};
    const object_layout objects{6};
    const auto check = [&](const paged_chunk& chunk) { return refusal([&] { chunk.check(pages, objects); }); };
    CHECK(check(paged_chunk{{7, 0}}) == "");
    CHECK(check(paged_chunk{{7, 0}, 2}) == "");
    CHECK(check(paged_chunk{{7, 0}, 3}) == "paged chunk: 2 pages; 6 tokens from slot 3 on lie in 3");
    CHECK(check(paged_chunk{{7, 0, 1}}) == "paged chunk: 3 pages; 6 tokens from slot 0 on lie in 2");
    CHECK(check(paged_chunk{{7, 0}, 4}) == "paged chunk: slot 4 of a page of 4 tokens");
    CHECK(check(paged_chunk{{7, 8}}) == "paged chunk: page 8 of 8");
    CHECK(check(paged_chunk{{7, 7}}) == "paged chunk: page 7 twice");
    CHECK(check(paged_chunk{{7}}.set_tokens(5, 1)) == "");
    CHECK(check(paged_chunk{{7}}.set_tokens(5, 2)) == "paged chunk: 2 tokens from 5 on of an object of 6");
    CHECK(check(paged_chunk{{7}}.set_tokens(5, 0)) == "paged chunk: 0 tokens from 5 on of an object of 6");
}

TEST_CASE("paged chunk: a chunk of a sequence has the pages that its tokens lie in")
{
    const std::vector<std::uint32_t> table{10, 11, 12, 13};
    const auto chunk = paged_chunk::of_sequence(table, 4, 6, 6);
    CHECK(chunk.pages() == std::vector<std::uint32_t>{11, 12});
    CHECK(chunk.first_slot() == 2);
    CHECK(paged_chunk::of_sequence(table, 4, 0, 16).pages() == table);
    CHECK(refusal([&] { (void)paged_chunk::of_sequence(table, 4, 10, 7); }) ==
          "paged chunk: tokens 10 to 17 of a sequence of 4 pages of 4");
}

TEST_CASE("runs: neighbours are merged as far as they go on both sides")
{
    const std::uint64_t page = 4 * 2 * 8 * 2; // bytes, of one plane
    const page_layout pages{small_shape, plain_order, {4096}};
    const auto lists = [&](const object_layout& objects, const paged_chunk& chunk, layer_range layers) {
        return runs(pages, objects, chunk, layers);
    };
    SUBCASE("pages in a row are one run for each plane")
    {
        const auto all = lists(object_layout{8}, paged_chunk{{3, 4}}, {0, 1});
        CHECK(all == std::vector<copy_run>{{4096 + 3 * page, 0, 2 * page}, {4096 + 11 * page, 2 * page, 2 * page}});
    }
    SUBCASE("others are one for each page")
    {
        const auto all = lists(object_layout{8}, paged_chunk{{4, 3}}, {1, 2});
        CHECK(all == std::vector<copy_run>{{4096 + 20 * page, 4 * page, page},
                                           {4096 + 19 * page, 5 * page, page},
                                           {4096 + 28 * page, 6 * page, page},
                                           {4096 + 27 * page, 7 * page, page}});
    }
    SUBCASE("pages with all layers in them are one each, if the object has groups of that size")
    {
        const page_layout blocks{
            small_shape, {axis::page, axis::layer, axis::kv, axis::token, axis::head, axis::element}, {4096}};
        const object_layout grouped{8, object_order::token_major, 4};
        CHECK(runs(blocks, grouped, paged_chunk{{6, 2}}, {0, 2}) ==
              std::vector<copy_run>{{4096 + 24 * page, 0, 4 * page}, {4096 + 8 * page, 4 * page, 4 * page}});
        CHECK(typical_run_bytes(blocks, grouped) == 4 * page);
        CHECK(typical_run_bytes(blocks, object_layout{8}) == page);
    }
}

TEST_CASE("runs: what they are typically is what they are for scattered pages")
{
    std::mt19937_64 random{7};
    const auto memory = cuda::make_cpu_backend();
    for (const engine_tensors& engine : engines()) {
        CAPTURE(engine.name);
        const page_layout pages = paged_memory{*memory, engine, random}.layout();
        const std::uint32_t n = engine.shape.page_tokens;
        for (const auto order : {object_order::token_major, object_order::head_major})
            for (const std::uint32_t group : {n, 2 * n}) {
                const object_layout objects{2 * n, order, group};
                const auto all = runs(pages, objects, paged_chunk{{5, 2}}, {0, engine.shape.layers});
                CHECK(typical_run_bytes(pages, objects) == all.front().bytes);
            }
    }
}

TEST_CASE("runs: in every order of the dimensions, they have each byte of the object once, and from where it belongs")
{
    std::mt19937_64 random{1};
    const auto memory = cuda::make_cpu_backend();
    engine_tensors engine{"", {2, 2, 7, 2, 2, 3, dtype::f16}, {}};
    std::vector<axis> all{axis::layer, axis::kv, axis::page, axis::token, axis::head, axis::element};
    do {
        engine.order = all;
        if (random() % 2 == 0)
            std::erase(engine.order, axis::layer);
        if (random() % 2 == 0)
            std::erase(engine.order, axis::kv);
        const object_layout objects{4, random() % 2 == 0 ? object_order::token_major : object_order::head_major,
                                    random() % 2 == 0 ? 4U : 2U};
        check_round_trip(
            *memory, [](const cuda::transfer_job& job) { copy_runs(job); }, engine, objects, random);

        const page_layout pages = paged_memory{*memory, engine, random}.layout();
        std::vector<int> seen(objects.size_bytes(engine.shape));
        for (const copy_run& run : runs(pages, objects, random_chunk(engine.shape, 4, 1, random), {0, 2}))
            for (std::uint64_t i = 0; i < run.bytes; ++i)
                ++seen.at(run.offset + i);
        CHECK(std::ranges::all_of(seen, [](int n) { return n == 1; }));
    } while (std::ranges::next_permutation(all).found);
}

TEST_CASE("cpu backend: every layout of every engine, there and elsewhere")
{
    std::mt19937_64 random{2};
    const auto backend = cuda::make_cpu_backend(2);
    for (const engine_tensors& engine : engines())
        check_all_round_trips(*backend, moved_by(*backend), engine, random);
    CHECK(refusal([] { (void)cuda::make_cpu_backend(0); }) == "cpu backend: 0 threads; 1 to 256");
}
