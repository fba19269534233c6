#pragma once

#include <filesystem>

#include <terrace/api.hpp>
#include <terrace/inspection.hpp>

namespace terrace {

/// Whether this is a segment_adapter's directory, one of its segments, by name, or a file or device that it has cut
/// into segments.
[[nodiscard]] TERRACE_API bool is_segment_store(const std::filesystem::path& path);

/// Finds what a segment_adapter's place holds, as a start would, and reads and verifies every object, in the order
/// in which they lie there; or those that lie in this one segment of a directory. Objects that a crash tore and places
/// without the record that should be there are reported as well.
///
/// It writes nothing, holds no lock and leaves the snapshot, so that a store in use, or what a crash left of one, can
/// be looked at. What is evicted meanwhile is left out. What is not whole in the segment that an adapter fills
/// meanwhile is being written. Throws std::system_error that names the path if it cannot be read.
TERRACE_API void inspect_segment_store(const std::filesystem::path& path, const inspection_report& report);

} // namespace terrace
