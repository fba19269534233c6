#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/memory_layout.hpp>

namespace terrace::cuda {

/// An address in the device's memory; of the CPU backend, in the host's.
using device_address = std::uintptr_t;

/// The dimensions of an engine's KV cache.
enum class axis : std::uint8_t { layer, kv, page, token, head, element };

/// How much of each dimension there is, on this rank.
struct page_shape {
    std::uint32_t layers = 0;       ///< transformer blocks, >= 1
    std::uint32_t kv = 2;           ///< 2: keys and values; 1: one latent for both, as in MLA
    std::uint32_t pages = 0;        ///< >= 1
    std::uint32_t page_tokens = 16; ///< tokens in a page, >= 1
    std::uint32_t heads = 0;        ///< KV heads, >= 1; MLA has 1
    std::uint32_t head_dim = 0;     ///< elements, >= 1; of MLA, of the whole latent
    dtype type = dtype::bf16;

    [[nodiscard]] std::uint64_t head_bytes() const noexcept { return std::uint64_t{head_dim} * element_bytes(type); }
    /// Of one token in one layer, keys or values.
    [[nodiscard]] std::uint64_t token_bytes() const noexcept { return heads * head_bytes(); }
    [[nodiscard]] constexpr std::uint32_t planes() const noexcept { return layers * kv; }

    friend bool operator==(const page_shape&, const page_shape&) = default;
};

/// Bytes from one page, token, head or element to the next.
struct page_strides {
    std::uint64_t page = 0;
    std::uint64_t token = 0;
    std::uint64_t head = 0;
    std::uint64_t element = 0;

    friend bool operator==(const page_strides&, const page_strides&) = default;
};

/// Where an inference engine's paged KV cache lies, and how.
///
///     page_layout{shape, {axis::layer, axis::kv, axis::page, axis::token, axis::head, axis::element}, {base}}
///
/// is one tensor [layers][2][pages][page_tokens][heads][head_dim]. Keys and values of one layer, in one page, are a
/// plane: four strides, the same everywhere, and a first address of its own. So every order of the dimensions is the
/// same thing to whoever copies, one tensor for each layer too, K and V apart or side by side, and padded pages.
///
/// A value that is cheap to copy: copies share one immutable description. It does not own the memory.
///
/// Source: PagedAttention (Kwon et al., SOSP 2023).
class TERRACE_API page_layout {
public:
    /// order  the dimensions of each tensor, outermost first, without gaps. `layer` and `kv` may be missing.
    /// bases  the tensors: one for all, or one for each value of what is missing of layer and kv, by layer first.
    ///
    /// Throws std::invalid_argument unless the extents are as page_shape says, each of the other dimensions is there
    /// once, there are as many bases as that, and each is aligned to an element and not 0; or if a tensor passes 2^62
    /// bytes.
    page_layout(const page_shape& shape, const std::vector<axis>& order, const std::vector<device_address>& bases);

    /// The same by strides, for memory with gaps. planes: the first byte of each layer's K and V, by layer first.
    ///
    /// Throws std::invalid_argument as above, or if a stride is not a multiple of an element, or two elements of a
    /// plane would have an address in common. Whether planes overlap is not looked at.
    page_layout(const page_shape& shape, const page_strides& strides, const std::vector<device_address>& planes);

    [[nodiscard]] const page_shape& shape() const noexcept;
    [[nodiscard]] const page_strides& strides() const noexcept;
    /// The address of page 0's first element. plane < shape().planes(), that is layer * kv + (0: K, 1: V).
    [[nodiscard]] device_address plane(std::uint32_t plane) const noexcept;

private:
    struct description;
    std::shared_ptr<const description> description_;
};

} // namespace terrace::cuda
