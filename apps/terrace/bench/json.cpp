#include "bench/report.hpp"

namespace terrace::bench {
namespace {

using json = nlohmann::ordered_json;

json spread_of(const spread& s)
{
    return {{"min", s.min}, {"median", s.median}, {"max", s.max}};
}

json row_of(const row& row)
{
    json out{{"workload", row.workload},
             {"name", row.name},
             {"params", json::object()},
             {"unit", row.unit},
             {"better", row.better == better::higher ? "higher" : "lower"},
             {"runs", row.runs},
             {"min", row.value.min},
             {"median", row.value.median},
             {"max", row.value.max},
             {"ceiling", nullptr},
             {"ratio", nullptr},
             {"cpu", nullptr},
             {"peak_rss_bytes", row.peak_rss_bytes},
             {"target", nullptr}};
    for (const auto& [name, value] : row.parameters)
        out["params"][name] = value;
    if (row.ceiling) {
        out["ceiling"] = spread_of(*row.ceiling);
        out["ceiling"]["name"] = row.ceiling_name;
    }
    if (row.ratio)
        out["ratio"] = *row.ratio;
    if (row.cpu)
        out["cpu"] = {{"median", *row.cpu}, {"unit", row.cpu_unit}};
    if (!row.targets.empty())
        out["target"] = {{"text", row.targets_text()}, {"met", row.targets_met()}};
    if (!row.distribution.empty()) {
        auto& points = out["distribution"] = json::array();
        for (const auto& [share, value] : row.distribution)
            points.push_back({share, value});
    }
    return out;
}

} // namespace

json to_json(const machine_facts& machine, std::span<const row> rows)
{
    json out{{"machine", json::object()}, {"rows", json::array()}};
    for (const auto& [name, value] : machine)
        out["machine"][name] = value;
    for (const auto& row : rows)
        out["rows"].push_back(row_of(row));
    return out;
}

} // namespace terrace::bench
