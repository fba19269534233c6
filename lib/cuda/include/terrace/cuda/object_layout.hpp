#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/cuda/page_layout.hpp>
#include <terrace/memory_layout.hpp>

namespace terrace::cuda {

/// Which of an object's dimensions is the outer one.
enum class object_order : std::uint8_t {
    token_major, ///< [layers][kv][tokens][heads][head_dim]: the pieces are long if pages are [tokens][heads][head_dim]
    head_major,  ///< [layers][kv][heads][tokens][head_dim]: the same for pages that are [heads][tokens][head_dim]
};

/// How a chunk's KV lies in an L1 object. It does not depend on pages, so that what one engine has stored another can
/// load, with pages of another size or order.
///
/// With group_tokens the object is a row of smaller ones, of so many tokens each: [groups][layers][kv][group_tokens]...
/// With groups as large as pages, an engine whose pages hold all layers back to back copies each in one piece.
class TERRACE_API object_layout {
public:
    /// tokens        of the chunk, >= 1
    /// group_tokens  a divisor of tokens; 0: one group
    /// Throws std::invalid_argument otherwise.
    explicit object_layout(std::uint32_t tokens, object_order order = object_order::token_major,
                           std::uint32_t group_tokens = 0);

    [[nodiscard]] std::uint32_t tokens() const noexcept { return tokens_; }
    [[nodiscard]] object_order order() const noexcept { return order_; }
    [[nodiscard]] std::uint32_t group_tokens() const noexcept { return group_tokens_; }
    [[nodiscard]] std::uint32_t groups() const noexcept { return tokens_ / group_tokens_; }

    [[nodiscard]] std::uint64_t size_bytes(const page_shape& shape) const noexcept;
    /// What reserve_write() and prefetches are told. Pages of any size and order have the same; another order or
    /// grouping of the object is another layout.
    [[nodiscard]] memory_layout memory(const page_shape& shape) const;

    friend bool operator==(const object_layout&, const object_layout&) = default;

private:
    std::uint32_t tokens_;
    object_order order_;
    std::uint32_t group_tokens_;
};

/// Where the tokens of one object lie in the pages. They may begin and end inside a page.
class TERRACE_API paged_chunk {
public:
    static constexpr std::uint32_t all = ~std::uint32_t{0};

    /// pages       that hold the tokens, in order of the tokens; no page twice
    /// first_slot  which token of pages.front() is the first; < page_tokens
    explicit paged_chunk(std::vector<std::uint32_t> pages, std::uint32_t first_slot = 0)
        : pages_{std::move(pages)},
          first_slot_{first_slot}
    {
    }

    /// The chunk that begins with a sequence's token first_token. Throws std::invalid_argument if page_tokens is 0, or
    /// the table has too few pages.
    /// page_table  the sequence's pages, from its beginning
    [[nodiscard]] static paged_chunk of_sequence(std::span<const std::uint32_t> page_table, std::uint32_t page_tokens,
                                                 std::uint64_t first_token, std::uint32_t tokens);

    /// Moves only the object's tokens [first, first + tokens); then first_slot says where token `first` lies. Not set:
    /// all of them.
    paged_chunk& set_tokens(std::uint32_t first, std::uint32_t tokens)
    {
        return first_token_ = first, tokens_ = tokens, *this;
    }

    [[nodiscard]] const std::vector<std::uint32_t>& pages() const noexcept { return pages_; }
    [[nodiscard]] std::uint32_t first_slot() const noexcept { return first_slot_; }
    [[nodiscard]] std::uint32_t first_token() const noexcept { return first_token_; }
    /// How many tokens move of an object that has so many.
    [[nodiscard]] std::uint32_t tokens_of(std::uint32_t object_tokens) const noexcept
    {
        return tokens_ == all ? object_tokens : tokens_;
    }

    /// Throws std::invalid_argument unless the tokens are the object's, the pages are the layout's, each at most once,
    /// and there are just as many as the tokens need.
    void check(const page_layout& pages, const object_layout& objects) const;

private:
    std::vector<std::uint32_t> pages_;
    std::uint32_t first_slot_;
    std::uint32_t first_token_ = 0;
    std::uint32_t tokens_ = all;
};

/// Layers [first, last).
struct layer_range {
    std::uint32_t first = 0;
    std::uint32_t last = 0;

    friend bool operator==(const layer_range&, const layer_range&) = default;
};

/// Bytes that lie together on the device and in the object.
struct copy_run {
    device_address device = 0;
    std::uint64_t offset = 0; ///< in the object
    std::uint64_t bytes = 0;

    friend bool operator==(const copy_run&, const copy_run&) = default;
};

/// What a chunk's bytes in these layers are, in order of the object, neighbours merged. Together the runs have each
/// byte of the object's that moves once. The chunk has been checked.
[[nodiscard]] TERRACE_API std::vector<copy_run> runs(const page_layout& pages, const object_layout& objects,
                                                     const paged_chunk& chunk, layer_range layers);

/// How long a run of a whole page is, in bytes; neighbouring pages may make it longer. What decides whether a copy
/// engine is worth its while.
[[nodiscard]] TERRACE_API std::uint64_t typical_run_bytes(const page_layout& pages, const object_layout& objects);

} // namespace terrace::cuda
