#pragma once

#include <filesystem>

#include <terrace/api.hpp>
#include <terrace/inspection.hpp>

namespace terrace {

/// Whether this is a file_adapter's directory, or one of its objects' files. Throws std::system_error for a directory
/// that must not be looked into.
[[nodiscard]] TERRACE_API bool is_file_store(const std::filesystem::path& path);

/// Reads and verifies every object of a file_adapter's directory, in order of path, or the one in this file.
///
/// It writes nothing and takes no lock, so that a store in use can be looked at; what is removed meanwhile is left out.
/// What cannot be read has that for its problem, folders too. Throws std::system_error that names the path if it cannot
/// be read.
TERRACE_API void inspect_file_store(const std::filesystem::path& path, const inspection_report& report);

} // namespace terrace
