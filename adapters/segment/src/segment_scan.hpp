#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "segment_file.hpp"
#include "segment_format.hpp"
#include "segment_index.hpp"

// Reading one segment, whatever state it is in. Everything here blocks and changes nothing.

namespace terrace::segment {

/// What a scan finds of an object or of an erasure.
struct found_record {
    record_kind kind = record_kind::object;
    object_key key;
    record where;
};

/// Blocks in which there should be a header, and is none, or none that can be read.
struct damaged_place {
    std::uint32_t segment = 0;
    std::uint64_t offset = 0; ///< 0: the segment's own header
    std::uint64_t bytes = 0;
    boost::system::error_code unreadable; ///< what the disk said, if it cannot be read
};

/// What a scan finds in one segment, in the order in which it lies there.
struct segment_contents {
    std::vector<found_record> records;
    std::vector<found_record> torn; ///< objects whose writing was not finished: nobody was told that they are stored
    std::vector<damaged_place> damaged;
    std::uint64_t last_sequence = 0;
};

/// Goes from record to record. In a segment that is not sealed, payloads are read as well; one that cannot be read is
/// taken for whole, for a load compares it.
[[nodiscard]] segment_contents scan(const segment_file& segment);

/// Finds out what an open file is, by its first block. `free`: never filled, or its header is damaged or cannot be
/// read; then `damaged` gets its place.
void identify(segment_file& segment, std::vector<damaged_place>& damaged);

/// What is wrong with the object that should lie at a place. Empty: every byte is as it was stored.
[[nodiscard]] std::string problem_of(const segment_file& segment, const object_key& key, const record& where);

} // namespace terrace::segment
