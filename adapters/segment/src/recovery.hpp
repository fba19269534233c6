#pragma once

#include <cstdint>
#include <vector>

#include "segment_directory.hpp"
#include "segment_file.hpp"
#include "segment_format.hpp"
#include "segment_index.hpp"

namespace terrace::segment {

/// What a scan finds of an object or of an erasure.
struct found_record {
    record_kind kind = record_kind::object;
    object_key key;
    record where;
};

/// A directory's contents, as a process that starts finds them.
struct recovered {
    std::vector<segment_file> segments;
    std::vector<found_record> records; ///< by sequence: a later one of the same key is right
    std::uint64_t last_sequence = 0;
    std::uint64_t last_order = 0;
    std::uint64_t damaged = 0; ///< places where a header should have been
    bool from_snapshot = false;
};

/// Opens the segments and finds what they hold: from the snapshot if there is one that fits, or by reading the headers
/// in `threads` threads. The snapshot is gone then.
///
/// What was being written when a process died is found only if it is whole: in a segment that was not sealed, payloads
/// are read as well. Elsewhere that is left to load().
///
/// Throws std::system_error that names the path, if the directory or a segment cannot be opened.
[[nodiscard]] recovered recover(const segment_directory& directory, std::uint32_t threads);

/// What a scan finds in one segment, in the order in which it lies there.
struct segment_contents {
    std::vector<found_record> records;
    std::uint64_t last_sequence = 0;
    std::uint64_t damaged = 0;
};
[[nodiscard]] segment_contents scan(const segment_file& segment);

} // namespace terrace::segment
