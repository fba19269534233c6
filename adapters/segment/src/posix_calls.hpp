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
/// Takes it for this process; operation_would_block: another one has it. The kernel takes it back from who dies.
[[nodiscard]] boost::system::error_code lock(const io::unique_fd& file);
/// Of a file or a block device.
[[nodiscard]] result<std::uint64_t> bytes_of(const io::unique_fd& file);

} // namespace terrace::segment
