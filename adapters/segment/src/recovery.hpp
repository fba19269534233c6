#pragma once

#include <cstdint>
#include <vector>

#include "segment_file.hpp"
#include "segment_index.hpp"
#include "segment_scan.hpp"
#include "segment_storage.hpp"

namespace terrace::segment {

/// What segments hold, as a process that starts finds them.
struct recovered {
    std::vector<segment_file> segments;
    std::vector<found_record> records; ///< by sequence: a later one of the same key is right
    std::vector<found_record> torn;
    std::vector<damaged_place> damaged;
    std::uint64_t last_sequence = 0;
    std::uint64_t last_order = 0;
    bool from_snapshot = false;
};

/// Opens the segments and finds what they hold: from the snapshot if there is one that fits, or by reading the headers
/// in `threads` threads. Changes nothing.
///
/// What was being written when a process died is found only if it is whole: in a segment that was not sealed, payloads
/// are read as well. Elsewhere that is left to load().
///
/// Where the disk cannot read, there is nothing, and `damaged` says so. Numbers go on far behind those that were found
/// then, for larger ones may be there.
///
/// Throws std::system_error that names the path, if the segments cannot be listed or opened.
[[nodiscard]] recovered read_contents(const segment_storage& storage, std::uint32_t threads);

/// The same, and from now on the segments may be written to: the snapshot is gone.
///
/// Throws also if a segment's header cannot be read, and nothing has changed: filled again, it would have lost what it
/// holds, and left out, what was erased from it meanwhile would be back when it can be read.
[[nodiscard]] recovered recover(const segment_storage& storage, std::uint32_t threads);

/// Puts into an index what holds of these records.
void put(const std::vector<found_record>& records, segment_index& into);

} // namespace terrace::segment
