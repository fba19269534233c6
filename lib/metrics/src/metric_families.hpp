#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <terrace/status.hpp>

namespace terrace::metrics {

enum class kind : std::uint8_t { gauge, counter, histogram };

/// One sample of the engine: its value, and that of the family's label if it has one.
struct engine_sample {
    std::string_view label_value; ///< "": the family has no label
    double (*value)(const engine_status&);
};

/// The same of an adapter.
struct adapter_sample {
    std::string_view label_value;
    double (*value)(const adapter_entry&);
};

/// A histogram of the engine's.
struct engine_histogram {
    std::string_view label_value;
    const latency_histogram& (*value)(const engine_status&);
};

/// The same of an adapter's.
struct adapter_histogram {
    std::string_view label_value;
    const latency_histogram& (*value)(const adapter_entry&);
};

/// What a name stands for: everything that is said of it comes from here.
struct description {
    std::string_view name;
    kind type;
    std::string_view unit;
    std::string_view meaning;
    std::string_view label = ""; ///< by which its samples differ, besides those that name the adapter
};

struct engine_family {
    description about;
    std::vector<engine_sample> samples;
    std::vector<engine_histogram> histograms = {};
};

struct adapter_family {
    description about;
    std::vector<adapter_sample> samples;
    std::vector<adapter_histogram> histograms = {};
};

/// In the order of the page: those of the engine, then those of each adapter.
[[nodiscard]] std::span<const engine_family> engine_families();
[[nodiscard]] std::span<const adapter_family> adapter_families();

} // namespace terrace::metrics
