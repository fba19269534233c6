#include "inspect/inspection.hpp"

#include <array>
#include <cerrno>
#include <fmt/format.h>
#include <stdexcept>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <terrace/file_inspection.hpp>
#include <terrace/segment_inspection.hpp>
#include <terrace/text_options.hpp>

namespace terrace::apps {
namespace {

struct store_kind {
    std::string_view name;
    bool (*is)(const std::filesystem::path&);
    void (*inspect)(const std::filesystem::path&, const inspection_report&);
};

/// A new kind of store takes one line here.
constexpr std::array kinds{
    store_kind{"file", &is_file_store, &inspect_file_store},
    store_kind{"segment", &is_segment_store, &inspect_segment_store},
};

} // namespace

inspection_summary inspect(const std::filesystem::path& path, const inspection_report& report)
{
    if (!std::filesystem::exists(path))
        throw std::invalid_argument(fmt::format("there is nothing at {}", path.string()));
    if (::access(path.c_str(), R_OK) != 0)
        throw std::system_error(errno, std::generic_category(), fmt::format("cannot read {}", path.string()));
    inspection_summary summary;
    std::vector<const store_kind*> found;
    for (const store_kind& kind : kinds) {
        if (!kind.is(path))
            continue;
        summary.store += fmt::format("{}{}", found.empty() ? "" : " and ", kind.name);
        found.push_back(&kind);
    }
    if (found.empty())
        throw std::invalid_argument(fmt::format(
            "{} is no store that this program knows; expected the directory or device of an adapter, or a file in it",
            path.string()));
    const auto count = [&](const inspected_object& object) {
        if (object.being_written)
            return report(object);
        ++summary.objects;
        summary.payload_bytes += object.problem.empty() ? object.payload_bytes : 0;
        summary.damaged_objects += object.problem.empty() ? 0 : 1;
        report(object);
    };
    for (const store_kind* kind : found)
        kind->inspect(path, count);
    return summary;
}

std::string to_line(const inspected_object& object)
{
    const auto key = object.key ? object.key->to_string() : std::string{"?"};
    if (!object.problem.empty())
        return fmt::format("{}  {}: {}  {}", key, object.being_written ? "being written" : "damaged", object.problem,
                           object.where);
    return fmt::format("{}  {}  {:016x}  {}", key, format_bytes(object.payload_bytes), object.fingerprint,
                       object.where);
}

} // namespace terrace::apps
