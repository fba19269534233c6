#include <terrace/cuda/page_layout.hpp>

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <stdexcept>

namespace terrace::cuda {

struct page_layout::description {
    page_shape shape;
    page_strides strides;
    std::vector<device_address> planes;
};

namespace {

constexpr std::size_t axes = 6;
constexpr std::array<const char*, axes> names{"layer", "kv", "page", "token", "head", "element"};

[[nodiscard]] std::size_t index(axis a)
{
    return static_cast<std::size_t>(a);
}

[[nodiscard]] std::array<std::uint32_t, axes> extents_of(const page_shape& shape)
{
    return {shape.layers, shape.kv, shape.pages, shape.page_tokens, shape.heads, shape.head_dim};
}

void check(const page_shape& shape)
{
    const auto extents = extents_of(shape);
    for (std::size_t i = 0; i < axes; ++i)
        if (extents[i] == 0)
            throw std::invalid_argument(fmt::format("page layout: the extent of {} is 0; at least 1", names[i]));
    if (shape.kv > 2)
        throw std::invalid_argument(
            fmt::format("page layout: the extent of kv is {}; 2 for keys and values, 1 for one latent", shape.kv));
    if (std::uint64_t{shape.layers} * shape.kv > 1U << 20)
        throw std::invalid_argument(fmt::format("page layout: {} layers; at most {}", shape.layers, 1U << 19));
}

void check_bases(const std::vector<device_address>& bases, std::uint64_t expected, std::uint32_t element_bytes)
{
    if (bases.size() != expected)
        throw std::invalid_argument(fmt::format("page layout: {} addresses; {} expected", bases.size(), expected));
    for (const device_address base : bases)
        if (base == 0 || base % element_bytes != 0)
            throw std::invalid_argument(
                fmt::format("page layout: the address {:#x} is 0 or no multiple of {}, the bytes of an element", base,
                            element_bytes));
}

/// The strides of the dimensions in `order`; those that are missing have 0.
[[nodiscard]] std::array<std::uint64_t, axes> strides_of(const page_shape& shape, const std::vector<axis>& order)
{
    const auto extents = extents_of(shape);
    std::array<bool, axes> seen{};
    std::array<std::uint64_t, axes> strides{};
    std::uint64_t bytes = element_bytes(shape.type);
    for (auto a = order.rbegin(); a != order.rend(); ++a) {
        const std::size_t i = index(*a);
        if (i >= axes || seen[i])
            throw std::invalid_argument(
                fmt::format("page layout: the order names {} twice", i < axes ? names[i] : "what is no dimension"));
        seen[i] = true;
        strides[i] = bytes;
        if (bytes > (std::uint64_t{1} << 62) / extents[i])
            throw std::invalid_argument("page layout: a tensor of more than 2^62 bytes");
        bytes *= extents[i];
    }
    for (const axis needed : {axis::page, axis::token, axis::head, axis::element})
        if (!seen[index(needed)])
            throw std::invalid_argument(fmt::format("page layout: the order lacks {}", names[index(needed)]));
    return strides;
}

/// Each stride, from the smallest on, must step over all that the smaller ones reach.
void check_strides(const page_shape& shape, const page_strides& strides)
{
    struct dimension {
        const char* name;
        std::uint64_t stride;
        std::uint64_t extent;
    };
    std::array all{dimension{"page", strides.page, shape.pages}, dimension{"token", strides.token, shape.page_tokens},
                   dimension{"head", strides.head, shape.heads}, dimension{"element", strides.element, shape.head_dim}};
    std::ranges::sort(all, {}, &dimension::stride);
    std::uint64_t reach = element_bytes(shape.type);
    for (const dimension& d : all) {
        if (d.stride % element_bytes(shape.type) != 0)
            throw std::invalid_argument(fmt::format("page layout: a {} stride of {}; a multiple of {} expected", d.name,
                                                    d.stride, element_bytes(shape.type)));
        if (d.extent == 1)
            continue; // nothing is ever one stride away
        if (d.stride < reach)
            throw std::invalid_argument(fmt::format("page layout: a {} stride of {} makes elements overlap; at least "
                                                    "{}",
                                                    d.name, d.stride, reach));
        if (d.stride > (std::uint64_t{1} << 62) / d.extent)
            throw std::invalid_argument(
                fmt::format("page layout: a {} stride of {}; a plane would pass 2^62 bytes", d.name, d.stride));
        reach += d.stride * (d.extent - 1);
    }
}

} // namespace

page_layout::page_layout(const page_shape& shape, const std::vector<axis>& order,
                         const std::vector<device_address>& bases)
{
    check(shape);
    const auto strides = strides_of(shape, order);
    const bool has_layers = std::ranges::count(order, axis::layer) != 0;
    const bool has_kv = std::ranges::count(order, axis::kv) != 0;
    const std::uint32_t kv_bases = has_kv ? 1 : shape.kv;
    check_bases(bases, std::uint64_t{has_layers ? 1 : shape.layers} * kv_bases, element_bytes(shape.type));

    std::vector<device_address> planes;
    for (std::uint32_t layer = 0; layer < shape.layers; ++layer)
        for (std::uint32_t kv = 0; kv < shape.kv; ++kv) {
            const std::uint32_t base = (has_layers ? 0 : layer) * kv_bases + (has_kv ? 0 : kv);
            planes.push_back(bases[base] + layer * strides[index(axis::layer)] + kv * strides[index(axis::kv)]);
        }
    const page_strides inner{strides[index(axis::page)], strides[index(axis::token)], strides[index(axis::head)],
                             strides[index(axis::element)]};
    description_ = std::make_shared<const description>(description{shape, inner, std::move(planes)});
}

page_layout::page_layout(const page_shape& shape, const page_strides& strides,
                         const std::vector<device_address>& planes)
{
    check(shape);
    check_bases(planes, shape.planes(), element_bytes(shape.type));
    check_strides(shape, strides);
    description_ = std::make_shared<const description>(description{shape, strides, planes});
}

const page_shape& page_layout::shape() const noexcept
{
    return description_->shape;
}

const page_strides& page_layout::strides() const noexcept
{
    return description_->strides;
}

device_address page_layout::plane(std::uint32_t plane) const noexcept
{
    return description_->planes[plane];
}

} // namespace terrace::cuda
