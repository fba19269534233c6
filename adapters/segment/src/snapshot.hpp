#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "recovery.hpp"

// What close() leaves, so that the next start need not scan: docs/formats/segment.md.

namespace terrace::segment {

/// What a snapshot is made of.
struct snapshot_source {
    std::vector<const segment_file*> segments;
    std::vector<indexed> objects;
    std::uint64_t last_sequence = 0;
    std::uint64_t last_order = 0;
};

[[nodiscard]] std::vector<std::byte> make_snapshot(const snapshot_source& of);

/// How long a snapshot is at most, by its first bytes; 0: they are of something else.
inline constexpr std::size_t snapshot_head_bytes = 48;
[[nodiscard]] std::uint64_t most_snapshot_bytes(std::span<const std::byte, snapshot_head_bytes> head);

/// Fills in what a snapshot says of `found.segments`, which have been opened and are what their headers say. False: it
/// is damaged, or not of these segments as they are now, and nothing has changed.
[[nodiscard]] bool apply_snapshot(std::span<const std::byte> snapshot, recovered& found);

} // namespace terrace::segment
