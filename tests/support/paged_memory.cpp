#include "support/paged_memory.hpp"

#include <algorithm>
#include <array>
#include <boost/system/system_error.hpp>
#include <cstring>
#include <doctest/doctest.h>
#include <future>
#include <new>
#include <numeric>

namespace terrace::test {

using cuda::axis;
using cuda::direction;
using cuda::layer_range;
using cuda::object_layout;
using cuda::object_order;
using cuda::paged_chunk;

namespace {

using element_index = std::array<std::uint64_t, 6>; // by axis

[[nodiscard]] std::uint64_t extent(const cuda::page_shape& shape, axis a)
{
    switch (a) {
    case axis::layer:
        return shape.layers;
    case axis::kv:
        return shape.kv;
    case axis::page:
        return shape.pages;
    case axis::token:
        return shape.page_tokens;
    case axis::head:
        return shape.heads;
    case axis::element:
        return shape.head_dim;
    }
    return 0;
}

[[nodiscard]] bool has(const std::vector<axis>& order, axis a)
{
    return std::ranges::find(order, a) != order.end();
}

/// Where an element is, in elements, row by row.
[[nodiscard]] std::uint64_t walk(const cuda::page_shape& shape, const std::vector<axis>& order, const element_index& at)
{
    std::uint64_t n = 0;
    for (const axis a : order)
        n = n * extent(shape, a) + at[static_cast<std::size_t>(a)];
    return n;
}

[[nodiscard]] std::uint64_t in_object(const cuda::page_shape& shape, const object_layout& objects,
                                      const element_index& at, std::uint64_t token)
{
    cuda::page_shape group = shape;
    group.page_tokens = objects.group_tokens();
    group.pages = objects.groups();
    element_index where = at;
    where[static_cast<std::size_t>(axis::page)] = token / group.page_tokens;
    where[static_cast<std::size_t>(axis::token)] = token % group.page_tokens;
    const auto order = objects.order() == object_order::token_major
                           ? std::vector{axis::page, axis::layer, axis::kv, axis::token, axis::head, axis::element}
                           : std::vector{axis::page, axis::layer, axis::kv, axis::head, axis::token, axis::element};
    return walk(group, order, where);
}

} // namespace

std::size_t engine_tensors::tensors() const
{
    return (has(order, axis::layer) ? 1 : shape.layers) * (has(order, axis::kv) ? 1 : shape.kv);
}

std::size_t engine_tensors::tensor_bytes() const
{
    std::size_t n = element_bytes(shape.type);
    for (const axis a : order)
        n *= extent(shape, a);
    return n;
}

std::vector<engine_tensors> engines()
{
    using enum axis;
    const cuda::page_shape some{3, 2, 23, 4, 2, 8, dtype::bf16};
    cuda::page_shape half = some, fp8 = some, odd = some, single = some, latent = some, wide = some;
    half.type = dtype::f16;
    fp8.type = dtype::f8_e4m3;
    odd.type = dtype::f8_e5m2;
    odd.head_dim = 7;
    odd.page_tokens = 5;
    single.page_tokens = 1;
    single.pages = 90;
    latent.kv = latent.heads = 1;
    latent.head_dim = 36;
    wide.layers = 85; // more planes than one launch takes
    wide.pages = 9;
    wide.heads = 1;
    wide.head_dim = 4;
    return {
        {"one tensor", some, {layer, kv, page, token, head, element}},
        {"one tensor, fp16", half, {layer, kv, page, token, head, element}},
        {"one tensor, fp8", fp8, {layer, kv, page, token, head, element}},
        {"one tensor, odd sizes", odd, {layer, kv, page, token, head, element}},
        {"one tensor, many layers", wide, {layer, kv, page, token, head, element}},
        {"heads outside of tokens", some, {layer, kv, page, head, token, element}},
        {"K and V side by side in each page", some, {layer, page, kv, token, head, element}},
        {"the same, heads outside of tokens", fp8, {layer, page, kv, head, token, element}},
        {"K and V interleaved by head", some, {layer, page, token, head, kv, element}},
        {"K and V interleaved by element", fp8, {layer, page, token, head, element, kv}},
        {"one tensor a layer", some, {kv, page, token, head, element}},
        {"one tensor a layer, pages outside", half, {page, kv, token, head, element}},
        {"K and V apart", some, {layer, page, token, head, element}},
        {"K and V apart, one tensor a layer", some, {page, token, head, element}},
        {"the same, pages of one token", single, {page, token, head, element}},
        {"elements outside of tokens", some, {layer, kv, page, head, element, token}},
        {"all layers in each page", some, {page, layer, kv, token, head, element}},
        {"the same, heads outside of tokens, odd sizes", odd, {page, layer, kv, head, token, element}},
        {"MLA, one tensor", latent, {layer, page, token, head, element}},
        {"MLA, one tensor a layer", latent, {page, token, head, element}},
    };
}

std::vector<std::byte> random_bytes(std::size_t n, std::mt19937_64& random)
{
    std::vector<std::byte> bytes(n);
    for (std::size_t i = 0; i < n; i += sizeof(std::uint64_t)) {
        const std::uint64_t word = random();
        std::memcpy(bytes.data() + i, &word, std::min(sizeof word, n - i));
    }
    return bytes;
}

paged_chunk random_chunk(const cuda::page_shape& shape, std::uint32_t tokens, std::uint32_t slot,
                         std::mt19937_64& random)
{
    std::vector<std::uint32_t> pages(shape.pages);
    std::iota(pages.begin(), pages.end(), 0);
    std::ranges::shuffle(pages, random);
    pages.resize((slot + tokens + shape.page_tokens - 1) / shape.page_tokens);
    if (random() % 2 == 0)
        std::ranges::sort(pages); // neighbours, to be merged
    return paged_chunk{std::move(pages), slot};
}

paged_memory::paged_memory(cuda::transfer_backend& backend, engine_tensors engine, std::mt19937_64& random)
    : backend_{backend},
      engine_{std::move(engine)}
{
    for (std::size_t i = 0; i < engine_.tensors(); ++i) {
        buffers_.push_back(backend.allocate(engine_.tensor_bytes()));
        expected_.push_back(random_bytes(engine_.tensor_bytes(), random));
        backend.upload(buffers_.back().address(), expected_.back());
    }
}

cuda::page_layout paged_memory::layout() const
{
    std::vector<cuda::device_address> bases;
    for (const cuda::device_buffer& b : buffers_)
        bases.push_back(b.address());
    return {engine_.shape, engine_.order, bases};
}

bool paged_memory::as_expected() const
{
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
        std::vector<std::byte> is(engine_.tensor_bytes());
        backend_.download(is, buffers_[i].address());
        if (is != expected_[i])
            return false;
    }
    return true;
}

template <class F>
void paged_memory::for_each_element(const object_layout& objects, const paged_chunk& chunk, layer_range layers,
                                    F f) const
{
    const cuda::page_shape& s = engine_.shape;
    const std::size_t bytes = element_bytes(s.type);
    for (std::uint64_t layer = layers.first; layer < layers.last; ++layer)
        for (std::uint64_t kv = 0; kv < s.kv; ++kv)
            for (std::uint64_t t = 0; t < chunk.tokens_of(objects.tokens()); ++t)
                for (std::uint64_t head = 0; head < s.heads; ++head)
                    for (std::uint64_t e = 0; e < s.head_dim; ++e) {
                        const std::uint64_t position = chunk.first_slot() + t;
                        const element_index at{
                            layer, kv, chunk.pages()[position / s.page_tokens], position % s.page_tokens, head, e};
                        const std::size_t tensor =
                            (has(engine_.order, axis::layer) ? 0 : layer) * (has(engine_.order, axis::kv) ? 1 : s.kv) +
                            (has(engine_.order, axis::kv) ? 0 : kv);
                        f(tensor, walk(s, engine_.order, at) * bytes,
                          in_object(s, objects, at, chunk.first_token() + t) * bytes);
                    }
}

void paged_memory::expect_gathered(const object_layout& objects, const paged_chunk& chunk, layer_range layers,
                                   std::vector<std::byte>& object) const
{
    const std::size_t bytes = element_bytes(engine_.shape.type);
    for_each_element(objects, chunk, layers, [&](std::size_t tensor, std::size_t from, std::size_t to) {
        std::memcpy(object.data() + to, expected_[tensor].data() + from, bytes);
    });
}

void paged_memory::expect_scattered(const object_layout& objects, const paged_chunk& chunk, layer_range layers,
                                    const std::vector<std::byte>& object)
{
    const std::size_t bytes = element_bytes(engine_.shape.type);
    for_each_element(objects, chunk, layers, [&](std::size_t tensor, std::size_t to, std::size_t from) {
        std::memcpy(expected_[tensor].data() + to, object.data() + from, bytes);
    });
}

std::shared_ptr<std::byte> plain_memory(std::size_t bytes)
{
    constexpr std::align_val_t alignment{64};
    return {static_cast<std::byte*>(::operator new(bytes, alignment)),
            [](std::byte* p) { ::operator delete(p, alignment); }};
}

mover moved_by(cuda::transfer_backend& backend)
{
    return [&backend](const cuda::transfer_job& job) {
        std::promise<boost::system::error_code> ended;
        auto outcome = ended.get_future();
        backend.start(job, [&ended](boost::system::error_code error) { ended.set_value(error); });
        if (const auto error = outcome.get())
            throw boost::system::system_error{error};
    };
}

namespace {

struct round_trip {
    const mover& move;
    paged_memory& from;
    paged_memory& to;
    const object_layout& objects;
    layer_range layers;
};

void check_chunk(const round_trip& r, const paged_chunk& source, const paged_chunk& target, std::byte* object,
                 std::size_t bytes, std::mt19937_64& random)
{
    auto expected = random_bytes(bytes, random); // the poison
    std::memcpy(object, expected.data(), bytes);
    r.from.expect_gathered(r.objects, source, r.layers, expected);
    r.move({direction::gather, r.from.layout(), r.objects, r.layers, {{object, &source}}});
    REQUIRE(std::memcmp(object, expected.data(), bytes) == 0);

    r.to.expect_scattered(r.objects, target, r.layers, expected);
    r.move({direction::scatter, r.to.layout(), r.objects, r.layers, {{object, &target}}});
    REQUIRE(std::memcmp(object, expected.data(), bytes) == 0);
}

} // namespace

void check_round_trip(cuda::transfer_backend& backend, const mover& move, const engine_tensors& engine,
                      const object_layout& objects, std::mt19937_64& random, const object_memory& memory)
{
    const cuda::page_shape& shape = engine.shape;
    CAPTURE(engine.name);
    CAPTURE(objects.tokens());
    CAPTURE(objects.group_tokens());
    CAPTURE(objects.order());
    paged_memory from{backend, engine, random};
    paged_memory to{backend, engine, random};
    const std::size_t bytes = objects.size_bytes(shape);
    const auto object = memory(bytes);
    const auto slot = [&] { return static_cast<std::uint32_t>(random() % shape.page_tokens); };

    const layer_range all{0, shape.layers};
    const layer_range one{1, 2};
    check_chunk({move, from, to, objects, all}, random_chunk(shape, objects.tokens(), 0, random),
                random_chunk(shape, objects.tokens(), 0, random), object.get(), bytes, random);
    check_chunk({move, from, to, objects, all}, random_chunk(shape, objects.tokens(), slot(), random),
                random_chunk(shape, objects.tokens(), slot(), random), object.get(), bytes, random);
    check_chunk({move, from, to, objects, one}, random_chunk(shape, objects.tokens(), slot(), random),
                random_chunk(shape, objects.tokens(), slot(), random), object.get(), bytes, random);
    const auto first = static_cast<std::uint32_t>(random() % objects.tokens());
    const auto tokens = static_cast<std::uint32_t>(1 + random() % (objects.tokens() - first));
    check_chunk({move, from, to, objects, all}, random_chunk(shape, tokens, slot(), random).set_tokens(first, tokens),
                random_chunk(shape, tokens, slot(), random).set_tokens(first, tokens), object.get(), bytes, random);
    CHECK(from.as_expected());
    CHECK(to.as_expected());
}

void check_all_round_trips(cuda::transfer_backend& backend, const mover& move, const engine_tensors& engine,
                           std::mt19937_64& random, const object_memory& memory)
{
    const std::uint32_t pages = engine.shape.page_tokens;
    for (const auto order : {object_order::token_major, object_order::head_major}) {
        check_round_trip(backend, move, engine, object_layout{4 * pages, order}, random, memory);
        check_round_trip(backend, move, engine, object_layout{4 * pages, order, pages}, random, memory);
        check_round_trip(backend, move, engine, object_layout{4 * pages, order, 2 * pages}, random, memory);
        check_round_trip(backend, move, engine, object_layout{2 * pages + 1, order}, random, memory);
        check_round_trip(backend, move, engine, object_layout{1, order}, random, memory);
    }
}

} // namespace terrace::test
