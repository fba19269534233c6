#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <terrace/error.hpp>

#include "segment_file.hpp"

namespace terrace::segment {

/// What somebody who opens segments wants of them.
enum class segment_access : std::uint8_t {
    own,  ///< to write: no other process has them meanwhile
    look, ///< to read, whoever has them
};

/// Where segments lie: in files of their own, or cut out of one. Every call blocks; any thread, one at a time.
class segment_storage {
public:
    virtual ~segment_storage() = default;

    /// The numbers of the segments that are there, in order.
    /// Throws std::system_error that names the path, if they cannot be listed.
    [[nodiscard]] virtual std::vector<std::uint32_t> numbers() const = 0;

    /// Opens a segment, for direct I/O where there is such a thing.
    [[nodiscard]] virtual result<segment_file> open(std::uint32_t number) const = 0;
    /// The same, a new one whose room is taken already.
    [[nodiscard]] virtual result<segment_file> create(std::uint32_t number, std::uint64_t bytes) const = 0;
    virtual boost::system::error_code remove(std::uint32_t number) const = 0;

    /// What the last close() left; nothing if there is none, or it cannot be read.
    [[nodiscard]] virtual std::optional<std::vector<std::byte>> read_snapshot() const = 0;
    /// Where there is no place for one, it is not written, and that is no failure.
    virtual boost::system::error_code write_snapshot(std::span<const std::byte> bytes) const = 0;
    /// So that it never comes back, be it after a power failure.
    virtual boost::system::error_code remove_snapshot() const = 0;

    [[nodiscard]] virtual std::string path_of(std::uint32_t number) const = 0; ///< for messages
    virtual void close() noexcept = 0; ///< leaves all to others, when the segments that were opened are closed
};

} // namespace terrace::segment
