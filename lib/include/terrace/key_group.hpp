#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <terrace/memory_layout.hpp>
#include <terrace/object_key.hpp>

namespace terrace {

/// The rule that picks the usable subset of what was found. A chunk counts only when all that it needs is there.
enum class trim_rule : std::uint8_t {
    prefix,           ///< the chunks before the first gap
    segmented_prefix, ///< every chunk found, if the first is among them: the caller recomputes what lies in the gaps
    sparse,           ///< every chunk found
};

/// The objects of one kind that a request wants: of the layers that attend alike and are stored together.
///
///     keys   [chunk 0: 0 .. k-1] [chunk 1: k .. 2k-1] ...     k = keys_per_chunk()
///
/// All groups of a request have the same number of chunks. A layer that attends to a sliding window of w chunks needs
/// only the last w chunks of a prefix: that much of its group is loaded, and earlier gaps in it do not matter.
///
/// A class with constructors and setters, as prefetch_request is, and for the same reason.
class key_group {
public:
    /// keys    of chunk 0, then of chunk 1, ... in order of the prompt; no key twice, none empty
    /// layout  of every object of the group; not empty
    key_group(std::vector<object_key> keys, memory_layout layout) : keys_{std::move(keys)}, layout_{std::move(layout)}
    {
    }

    /// How many objects make up a chunk, such as one for each kv_rank: >= 1, and divides the number of keys.
    key_group& set_keys_per_chunk(std::size_t k) { return keys_per_chunk_ = k, *this; }
    /// The sliding window of these layers in chunks, >= 1; none: full attention. Only under trim_rule::prefix.
    key_group& set_window_chunks(std::optional<std::size_t> w) { return window_chunks_ = w, *this; }

    [[nodiscard]] const std::vector<object_key>& keys() const& noexcept { return keys_; }
    [[nodiscard]] std::vector<object_key> keys() && noexcept { return std::move(keys_); }
    [[nodiscard]] const memory_layout& layout() const noexcept { return layout_; }
    [[nodiscard]] std::size_t keys_per_chunk() const noexcept { return keys_per_chunk_; }
    [[nodiscard]] std::optional<std::size_t> window_chunks() const noexcept { return window_chunks_; }

private:
    std::vector<object_key> keys_;
    memory_layout layout_;
    std::size_t keys_per_chunk_ = 1;
    std::optional<std::size_t> window_chunks_;
};

} // namespace terrace
