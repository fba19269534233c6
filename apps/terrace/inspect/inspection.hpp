#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include <terrace/inspection.hpp>

namespace terrace::apps {

/// What an inspection found in all, less what is being written.
struct inspection_summary {
    std::string store; ///< the kind of store: "file", "segment", ...; "file and segment" if they share a directory
    std::uint64_t objects = 0;
    std::uint64_t payload_bytes = 0;
    std::uint64_t damaged_objects = 0;
};

/// Finds out what kinds of store lie at `path`, and verifies every object in them.
/// Throws std::invalid_argument if it is none that this program knows, std::system_error if it cannot be read.
[[nodiscard]] inspection_summary inspect(const std::filesystem::path& path, const inspection_report& report);

/// One line: "model@0@0@2a  64 KiB  f00d...  where", or with what is wrong, or being written.
[[nodiscard]] std::string to_line(const inspected_object& object);

} // namespace terrace::apps
