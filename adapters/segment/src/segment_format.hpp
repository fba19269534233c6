#pragma once

#include <array>
#include <boost/container/small_vector.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <terrace/io/checksum.hpp>
#include <terrace/object_key.hpp>

// What lies in a segment: docs/formats/segment.md. Everything here is a function of bytes.

namespace terrace::segment {

/// What direct I/O wants offsets and lengths in. Headers have this size, and every record starts on such a boundary.
inline constexpr std::size_t block_bytes = 4096;

using block_view = std::span<const std::byte, block_bytes>;
using block_place = std::span<std::byte, block_bytes>;

/// The room that `bytes` take in whole blocks.
[[nodiscard]] constexpr std::uint64_t padded(std::uint64_t bytes) noexcept
{
    return (bytes + block_bytes - 1) / block_bytes * block_bytes;
}

/// The room of an object's record: its header, and its payload in whole blocks.
[[nodiscard]] constexpr std::uint64_t record_bytes(std::uint64_t payload_bytes) noexcept
{
    return block_bytes + padded(payload_bytes);
}

using io::checksum;

/// The first block of a volume: how the rest is cut into segments.
struct volume_label {
    std::uint32_t segments = 0; ///< at least 2; they lie behind the label, back to back
    std::uint64_t segment_bytes = 0;

    /// Of the label and all segments.
    [[nodiscard]] std::uint64_t bytes() const noexcept { return block_bytes + segments * segment_bytes; }
};

void put(const volume_label& label, block_place to) noexcept;
/// Nothing: damaged, of another version, or something else.
[[nodiscard]] std::optional<volume_label> parse_volume_label(block_view block) noexcept;
/// Whether it starts as a label does, of whatever version, damaged or not.
[[nodiscard]] bool has_label_magic(block_view block) noexcept;

/// The first block of a segment.
struct segment_header {
    std::uint32_t number = 0; ///< as in the file's name: a copy under another name is not taken for a segment
    std::uint64_t life = 0;   ///< a random number, another one each time the segment is filled
    std::uint64_t order = 0;  ///< segments are filled in this order
    std::uint64_t bytes = 0;  ///< of the whole segment
};

void put(const segment_header& header, block_place to) noexcept;
/// Nothing: damaged, of another version, or something else.
[[nodiscard]] std::optional<segment_header> parse_segment_header(block_view block) noexcept;

enum class record_kind : std::uint32_t {
    object = 1,
    erased = 2, ///< what older records say of these keys holds no longer
    end = 3,    ///< nothing follows: the segment is sealed
};

/// The header of a record.
struct record_header {
    record_kind kind = record_kind::end;
    std::uint64_t life = 0;     ///< of the segment: records of its earlier lives are none
    std::uint64_t offset = 0;   ///< of this header in the segment
    std::uint64_t sequence = 0; ///< of two records of one key, the one with the larger number is right
    std::uint64_t fingerprint = 0;
    std::uint64_t payload_bytes = 0; ///< of an object, >= 1; otherwise 0
    std::uint64_t payload_checksum = 0;
    boost::container::small_vector<object_key, 1> keys; ///< an object has one, an `erased` at least one, an `end` none
};

/// The keys must fit: see key_room.
void put(const record_header& header, block_place to);
/// Nothing: damaged, of another version, or something else.
[[nodiscard]] std::optional<record_header> parse_record_header(block_view block);

/// What a header has room for: every key takes key_cost().
inline constexpr std::size_t key_room = block_bytes - 72 - 8;
[[nodiscard]] std::size_t key_cost(const object_key& key);

} // namespace terrace::segment
