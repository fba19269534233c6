#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include <terrace/io/transfer.hpp>
#include <terrace/io/unique_fd.hpp>

namespace terrace::segment {

inline constexpr std::uint64_t min_segment_bytes = 64 << 10;
inline constexpr std::uint64_t default_segment_bytes = 256 << 20; ///< or an eighth of all, if that is less

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

/// A segment, with the file that it lies in.
struct segment_file {
    std::uint32_t number = 0;
    std::shared_ptr<const io::unique_fd> file; ///< of this one, or of all
    std::uint64_t begin = 0;                   ///< in the file
    std::uint64_t bytes = 0;                   ///< in whole blocks
    segment_state state = segment_state::free;
    std::uint64_t life = 0;
    std::uint64_t order = 0;   ///< 0: never filled
    std::uint64_t end = 0;     ///< of an open one: where the next record goes; 0: it has no header yet
    bool bad = false;          ///< a place in it cannot be written: it is not filled again
    std::uint32_t readers = 0; ///< loads that read in it: not to be filled again before they have ended

    /// Transfers at a place in the segment.
    [[nodiscard]] io::transfer read(std::uint64_t offset, std::span<std::byte> head,
                                    std::span<std::byte> body = {}) const noexcept
    {
        return io::transfer::read(file->get(), begin + offset, head, body);
    }
    [[nodiscard]] io::transfer write(std::uint64_t offset, std::span<const std::byte> head,
                                     std::span<const std::byte> body = {}) const noexcept
    {
        return io::transfer::write(file->get(), begin + offset, head, body);
    }
};

} // namespace terrace::segment
