#pragma once

#include <cstdint>
#include <string>

#include <terrace/error.hpp>
#include <terrace/io/unique_fd.hpp>

// What a directory and a volume do alike. A file that is not open: errno says why.

namespace terrace::segment {

[[nodiscard]] io::unique_fd open_at(int at, const std::string& name, int flags);
/// Direct, or through the page cache where the file system knows no other way.
[[nodiscard]] io::unique_fd open_direct(int at, const std::string& name, int flags);
/// The file has room for all of it from now on, if the file system can say so.
[[nodiscard]] boost::system::error_code take_room(const io::unique_fd& file, std::uint64_t bytes);
/// Whether a call failed for want of room, so that what there is is all that there will be for now.
[[nodiscard]] bool is_full(const boost::system::error_code& failed) noexcept;
/// The same before it is tried, as far as the file system knows: making room for a large file, to be told in the end
/// that there is none, may take it long.
[[nodiscard]] bool has_room(const io::unique_fd& directory, std::uint64_t bytes) noexcept;
/// Of the whole file system; 0: it does not say.
[[nodiscard]] std::uint64_t file_system_bytes(const io::unique_fd& directory) noexcept;
/// Has this process allowed to open so many files more, and tells how many it may: fewer if its hard limit is lower.
[[nodiscard]] std::uint64_t allow_files(std::uint64_t more);
/// Takes it for this process; operation_would_block: another one has it. The kernel takes it back from who dies.
[[nodiscard]] boost::system::error_code lock(const io::unique_fd& file);
/// Of a file or a block device.
[[nodiscard]] result<std::uint64_t> bytes_of(const io::unique_fd& file);

} // namespace terrace::segment
