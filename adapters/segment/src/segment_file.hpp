#pragma once

#include <cstdint>

#include <terrace/io/unique_fd.hpp>

namespace terrace::segment {

///            fill               full, or its process died
///     free --------> open ---------------------------------> sealed
///      ^                                                        |
///      +--------------------------------------------------------+
///        reclaimed: what was wanted is copied, readers have ended
enum class segment_state : std::uint8_t {
    free,
    open, ///< one at most
    sealed,
};

/// A segment, with its file.
struct segment_file {
    std::uint32_t number = 0;
    io::unique_fd file;
    std::uint64_t bytes = 0; ///< of the file, in whole blocks
    segment_state state = segment_state::free;
    std::uint64_t life = 0;
    std::uint64_t order = 0;   ///< 0: never filled
    std::uint64_t end = 0;     ///< of an open one: where the next record goes; 0: it has no header yet
    std::uint32_t readers = 0; ///< loads that read in it: not to be filled again before they have ended
};

} // namespace terrace::segment
