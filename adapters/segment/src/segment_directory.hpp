#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <terrace/error.hpp>
#include <terrace/io/unique_fd.hpp>

#include "segment_file.hpp"

namespace terrace::segment {

/// What somebody who opens segments wants of them.
enum class segment_access : std::uint8_t {
    own,  ///< to write: no other process has them meanwhile
    look, ///< to read, whoever has them
};

/// The files of a segment_adapter. Every call blocks; any thread, one at a time.
class segment_directory {
public:
    /// To own it, makes the directory if it is not there, and takes it for this process.
    /// Throws std::system_error that names the path.
    explicit segment_directory(std::filesystem::path path, segment_access access = segment_access::own);

    /// The numbers of the segments that are there, in order.
    /// Throws std::system_error that names the path, if the directory cannot be read.
    [[nodiscard]] std::vector<std::uint32_t> numbers() const;

    /// Opens a segment, for direct I/O where the file system has it.
    [[nodiscard]] result<segment_file> open(std::uint32_t number) const;
    /// The same, a new one whose room is taken already.
    [[nodiscard]] result<segment_file> create(std::uint32_t number, std::uint64_t bytes) const;
    boost::system::error_code remove(std::uint32_t number) const;

    /// What the last close() left; nothing if there is none, or it cannot be read.
    [[nodiscard]] std::optional<std::vector<std::byte>> read_snapshot() const;
    boost::system::error_code write_snapshot(std::span<const std::byte> bytes) const;
    /// So that it never comes back, be it after a power failure.
    boost::system::error_code remove_snapshot() const;

    [[nodiscard]] std::string path_of(std::uint32_t number) const; ///< for messages
    void close() noexcept;                                         ///< leaves the directory to others

private:
    void lock();
    [[noreturn]] void fail(boost::system::error_code why, const char* what, const std::string& where) const;

    std::filesystem::path path_;
    segment_access access_;
    io::unique_fd root_;
    io::unique_fd lock_; // flock: the kernel takes it back from a process that dies
};

/// The number in a segment's name; none: it is no segment's.
[[nodiscard]] std::optional<std::uint32_t> segment_number_of(const std::string& name);

} // namespace terrace::segment
