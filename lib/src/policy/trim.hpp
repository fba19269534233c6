#pragma once

#include <algorithm>
#include <boost/container/small_vector.hpp>
#include <cstddef>
#include <span>

#include <terrace/bitmap.hpp>
#include <terrace/key_group.hpp>

namespace terrace {

/// How the keys of a request make up its chunks, and which of the keys found are therefore of use.
///
/// Bitmaps are over the flattened request, the keys of one group after those of the other:
///
///     group 0, 2 keys per chunk   [a0 b0] [a1 b1] [a2 b2]
///     group 1, 1 key per chunk    [c0]    [c1]    [c2]
///     flattened                   a0 b0 a1 b1 a2 b2 c0 c1 c2
///
/// A chunk is whole in a group if all keys that the group has for it are found. A prefix of n chunks is usable if each
/// group has, whole, the chunks that its layers attend to at the prefix's end: [0, n), or [n - w, n) under a window.
/// With a window that may be so for n chunks, although it is not for fewer.
class request_shape {
public:
    /// One group of full attention with one key per chunk.
    request_shape(std::size_t keys, trim_rule rule);

    /// Throws std::invalid_argument, which names the group and the value, for: no group, 0 keys per chunk, keys that do
    /// not make whole chunks, another number of chunks than group 0 has, a window of 0 chunks, and a window under
    /// another rule than prefix. (A window says what the end of a prefix needs. Chunks with gaps between them have no
    /// one end, and what each of them needed would be found only by loading every window.)
    request_shape(std::span<const key_group> groups, trim_rule rule);

    [[nodiscard]] std::size_t keys() const noexcept { return keys_; }
    [[nodiscard]] std::size_t chunks() const noexcept { return chunks_; }
    [[nodiscard]] std::size_t groups() const noexcept { return parts_.size(); }
    [[nodiscard]] trim_rule rule() const noexcept { return rule_; }
    /// Whether a group has a window, so that what is usable of few chunks need not be of more.
    [[nodiscard]] bool windowed() const noexcept
    {
        return std::ranges::any_of(parts_, [](const part& p) { return p.window != full_attention; });
    }

    /// The position of a group's first key in the flattened request; that of group groups() is keys().
    [[nodiscard]] std::size_t first_key(std::size_t group) const noexcept
    {
        return group < parts_.size() ? parts_[group].first_key : keys_;
    }
    /// The group that the key at this position is of.
    [[nodiscard]] std::size_t group_of(std::size_t key) const noexcept;

    // All below: `found` has keys() bits. What is usable of usable(found) is all of it: trimming twice changes nothing.

    /// The keys worth having, a subset of `found`.
    [[nodiscard]] bitmap usable(bitmap found) const;

    /// The longest usable prefix, in chunks.
    [[nodiscard]] std::size_t hits(const bitmap& found) const;

    /// The chunks that count under the rule: hits(), and under the others those behind a gap besides.
    [[nodiscard]] std::size_t usable_chunks(const bitmap& found) const;

private:
    struct part {
        std::size_t first_key;      // in the flattened request
        std::size_t keys_per_chunk; // >= 1
        std::size_t window;         // chunks at the end of a prefix that are needed; full_attention: all
    };
    static constexpr std::size_t full_attention = ~std::size_t{0};

    /// One group of full attention: its whole prefix is the bitmap's.
    [[nodiscard]] bool plain() const noexcept { return parts_.size() == 1 && parts_[0].window == full_attention; }
    [[nodiscard]] static bool whole(const part& p, std::size_t chunk, const bitmap& found);
    /// By chunk: it is whole in every group, and counts under the rule.
    [[nodiscard]] bitmap scattered_chunks(const bitmap& found) const;

    boost::container::small_vector<part, 2> parts_; // by group, >= 1
    std::size_t keys_ = 0;
    std::size_t chunks_ = 0;
    trim_rule rule_;
};

} // namespace terrace
