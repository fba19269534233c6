#pragma once

#include <boost/system/error_code.hpp>
#include <filesystem>

namespace terrace::io {

/// Makes a directory, and those above it, where they are not there: their owner's alone, and so that they are there
/// after a power failure.
///
/// Errors: no_such_device in /dev, which lies in memory: a device was meant, and it is not there.
[[nodiscard]] boost::system::error_code make_directories(const std::filesystem::path& path);

} // namespace terrace::io
