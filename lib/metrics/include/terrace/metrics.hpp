#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/status.hpp>

namespace terrace {

/// Labels that every sample gets besides its own, such as {{"model", "llama"}}: value by name.
using metric_labels = std::map<std::string, std::string>;

/// The status in Prometheus's text format, version 0.0.4: what a server answers to GET /metrics.
///
/// Families   those of metric_families(), each with its # HELP and # TYPE, whether or not there is an adapter
/// Adapters   one sample each, with the labels `id` (its adapter_id, never used twice) and `adapter` (its name)
/// Errors     std::invalid_argument for a constant label whose name Prometheus does not allow, or is one of our own
/// Threads    any; it reads nothing but its arguments. A page takes about 0.1 ms
[[nodiscard]] TERRACE_API std::string prometheus_text(const engine_status& status, const metric_labels& constant = {});

/// The Content-Type of that text.
inline constexpr std::string_view prometheus_content_type = "text/plain; version=0.0.4; charset=utf-8";

/// What one family of metrics says.
struct metric_family {
    std::string name;                ///< "terrace_l1_used_bytes"
    std::string type;                ///< gauge (as it is now), counter or histogram (since the engine started)
    std::string unit;                ///< of its value: bytes, objects, calls, ...
    std::vector<std::string> labels; ///< names of its own labels
    std::string meaning;             ///< a sentence
};

/// All that prometheus_text() has, in its order. docs/metrics.md is this as a table.
[[nodiscard]] TERRACE_API std::vector<metric_family> metric_families();

} // namespace terrace
