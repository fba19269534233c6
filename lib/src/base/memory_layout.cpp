#include <terrace/memory_layout.hpp>

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <stdexcept>
#include <xxhash.h>

namespace terrace {

namespace {

constexpr std::uint64_t max_bytes = std::uint64_t{1} << 62;

/// The tensor's bytes. Throws std::invalid_argument that names the tensor if they cannot be.
std::uint64_t tensor_bytes(const tensor& t, std::size_t index)
{
    std::uint64_t bytes = element_bytes(t.type());
    if (bytes == 0)
        throw std::invalid_argument(
            fmt::format("memory_layout: tensor {}: dtype {} is unknown", index, static_cast<unsigned>(t.type())));
    for (std::size_t i = 0; i < t.shape().size(); ++i) {
        auto extent = t.shape()[i];
        if (extent == 0)
            throw std::invalid_argument(fmt::format("memory_layout: tensor {}: dimension {} is 0", index, i));
        if (extent > max_bytes / bytes)
            throw std::invalid_argument(fmt::format("memory_layout: tensor {} is larger than 2^62 bytes", index));
        bytes *= extent;
    }
    return bytes;
}

/// XXH3 over counts, types and extents, each little-endian:
///
///     u32 tensors  { u8 dtype  u32 dimensions  u64 extent ... } ...
///
/// Stores keep fingerprints: neither this form nor the numbers of dtype may ever change.
std::uint64_t fingerprint_of(std::span<const tensor> tensors)
{
    std::vector<unsigned char> text;
    auto put = [&](std::uint64_t n, std::size_t bytes) {
        for (std::size_t i = 0; i < bytes; ++i)
            text.push_back(static_cast<unsigned char>(n >> (8 * i)));
    };
    put(tensors.size(), 4);
    for (const tensor& t : tensors) {
        put(static_cast<std::uint64_t>(t.type()), 1);
        put(t.shape().size(), 4);
        for (auto extent : t.shape())
            put(extent, 8);
    }
    return XXH3_64bits(text.data(), text.size());
}

} // namespace

std::uint32_t element_bytes(dtype type) noexcept
{
    switch (type) {
    case dtype::u8:
    case dtype::i8:
    case dtype::f8_e4m3:
    case dtype::f8_e5m2:
        return 1;
    case dtype::f16:
    case dtype::bf16:
        return 2;
    case dtype::i32:
    case dtype::f32:
        return 4;
    case dtype::i64:
    case dtype::f64:
        return 8;
    }
    return 0; // not a dtype: memory_layout refuses it
}

memory_layout::memory_layout() = default;

memory_layout::memory_layout(std::vector<tensor> tensors)
{
    if (tensors.empty())
        return; // the empty layout
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        auto bytes = tensor_bytes(tensors[i], i);
        if (bytes > max_bytes - size_bytes_)
            throw std::invalid_argument("memory_layout: the tensors together are larger than 2^62 bytes");
        size_bytes_ += bytes;
    }
    fingerprint_ = fingerprint_of(tensors);
    tensors_ = std::make_shared<const std::vector<tensor>>(std::move(tensors));
}

memory_layout memory_layout::bytes(std::uint64_t n)
{
    if (n == 0)
        return {};
    return memory_layout{{tensor{{n}, dtype::u8}}};
}

memory_layout memory_layout::known_by(std::uint64_t size_bytes, std::uint64_t fingerprint) noexcept
{
    memory_layout layout;
    layout.size_bytes_ = size_bytes;
    layout.fingerprint_ = fingerprint;
    return layout;
}

std::span<const tensor> memory_layout::tensors() const noexcept
{
    if (!tensors_)
        return {};
    return *tensors_;
}

} // namespace terrace
