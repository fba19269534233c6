#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "segment_index.hpp"

namespace terrace::segment {

/// What becomes of a segment's objects when it is to be filled again.
struct reclaim_choice {
    std::vector<indexed> kept;    ///< to be written again, elsewhere
    std::vector<indexed> evicted; ///< the rest
    std::uint64_t kept_bytes = 0; ///< of records
};

/// Keeps what is locked, and of the others those used most since they were written, to half of the segment at most: so
/// an unlocked half comes free each time, however hot the cache.
///
/// segment_bytes  of the segment
/// room           where the kept ones go, in bytes; nothing if the locked ones alone do not fit there
[[nodiscard]] std::optional<reclaim_choice> choose(std::span<const indexed> objects, std::uint64_t segment_bytes,
                                                   std::uint64_t room);

} // namespace terrace::segment
