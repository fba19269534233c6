#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <terrace/error.hpp>
#include <terrace/io/unique_fd.hpp>

namespace terrace::file {

using io::last_error;
using io::unique_fd;

/// What there is to know of a file without reading it.
struct file_facts {
    bool regular = false;
    std::uint64_t bytes = 0;
    std::int64_t modified_ns = 0; ///< since 1970
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::uint64_t links = 0;

    [[nodiscard]] bool is_same_file(const file_facts& o) const noexcept
    {
        return device == o.device && inode == o.inode;
    }
};

/// `path` is below the open directory `at`; a symbolic link is not followed.
[[nodiscard]] result<file_facts> look_at(int at, const std::string& path);
[[nodiscard]] result<file_facts> look_at(const unique_fd& file);

/// Opens for reading. Never waits, whatever lies there.
[[nodiscard]] result<unique_fd> open_for_reading(int at, const std::string& path);
[[nodiscard]] result<unique_fd> open_directory(int at, const std::string& path);

[[nodiscard]] boost::system::error_code unlink(int at, const std::string& path);

/// The names in a directory, in no order, without "." and "..".
[[nodiscard]] result<std::vector<std::string>> names_in(int at, const std::string& path);

/// Reads the start of the file into head, and what follows into body. Less than their sizes: the file ends there.
[[nodiscard]] result<std::uint64_t> read_from_start(const unique_fd& file, std::span<std::byte> head,
                                                    std::span<std::byte> body);

/// Bypass the page cache from now on, or no longer. False: the file system refuses.
bool set_direct(const unique_fd& file, bool direct) noexcept;

/// Has the file system find the place for the first `bytes` of the file now, if it can. Errors: there is none.
[[nodiscard]] boost::system::error_code reserve(const unique_fd& file, std::uint64_t bytes) noexcept;

/// Flushes a directory: what has a name in it keeps it after a power failure.
[[nodiscard]] boost::system::error_code sync_directory(int at, const std::string& path);

/// Whether the file system lies in memory.
[[nodiscard]] bool lies_in_memory(const unique_fd& file) noexcept;

} // namespace terrace::file
