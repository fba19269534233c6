#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <functional>
#include <string_view>

#include "bench/report.hpp"
#include "bench/svg_chart.hpp"

namespace terrace::bench {
namespace {

constexpr std::string_view style = R"(
:root { color-scheme: light dark; --paper: #fbfaf7; --ink: #23262b; --faint: #6d737d; --rule: #e3e0d8; --card: #ffffff;
  --good: #1c7c4a; --bad: #b3402a; --ceiling: #23262b;
  --series-1: #2f6fb0; --series-2: #d0782a; --series-3: #3b8f62; --series-4: #a2478f; --series-5: #8a7a1f;
  --series-6: #5b6b7f; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --ink: #e5e6e8; --faint: #9aa1ab; --rule: #2d3239;
  --card: #1c2025; --good: #66c491; --bad: #ee8a70; --ceiling: #f2f2f2;
  --series-1: #6cabea; --series-2: #f0a45d; --series-3: #6fc796; --series-4: #d98ac8; --series-5: #d0bf5a;
  --series-6: #a3b2c4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1320px; padding: 2.2rem 1.4rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .7rem; }
p { margin: .2rem 0; } .faint, th { color: var(--faint); }
dl { display: flex; flex-wrap: wrap; gap: .3rem 1.6rem; margin: 1rem 0 0; }
dl div { display: flex; gap: .45rem; } dt { color: var(--faint); } dd { margin: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 1.1rem;
  align-items: start; }
figure { margin: 0; padding: 1rem 1.1rem .8rem; background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; }
figcaption { font-weight: 600; margin-bottom: .5rem; }
svg { display: block; width: 100%; height: auto; font: 11.5px system-ui, sans-serif; }
svg text { fill: var(--faint); } svg text.value { fill: var(--ink); } svg text.axis { font-size: 12px; }
svg .grid { stroke: var(--rule); stroke-width: 1; } svg .range { stroke: var(--ink); stroke-opacity: .55; }
svg .ceiling { stroke: var(--ceiling); stroke-width: 2.5; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .84rem; color: var(--faint); margin-top: .4rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: 3px; margin-right: .4rem;
  vertical-align: -.08rem; }
.legend i.mark { width: 3px; height: 1rem; border-radius: 0; background: var(--ceiling); vertical-align: -.16rem; }
.legend i.whisker { height: 1px; border-radius: 0; background: var(--ink); opacity: .6; vertical-align: .22rem; }
.table { overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .84rem; }
th { text-align: left; font-weight: 500; } th, td { padding: .34rem .55rem;
  border-bottom: 1px solid var(--rule); }
tr:last-child td { border-bottom: 0; } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number, td:nth-child(2) { white-space: nowrap; } td.median { font-weight: 600; } .met { color: var(--good); } .missed { color: var(--bad); }
.share { display: inline-block; width: 2.8rem; height: .5rem; margin-left: .5rem; border-radius: 3px;
  background: var(--rule); overflow: hidden; vertical-align: .04rem; }
.share b { display: block; height: 100%; background: var(--series-1); }
)";

using row_span = std::span<const row>;

series distribution_line(const row& from, std::string name)
{
    series line{.name = std::move(name), .points = {}};
    for (const auto& [share, value] : from.distribution)
        if (share < 1) // the slowest of all would stretch the axis
            line.points.emplace_back(value, 100 * share);
    return line;
}

/// How many of the prefetches had their answer after so many microseconds.
std::string latency_charts(row_span rows)
{
    const axis time{
        .title = "microseconds until the lease is in hand", .scale = scale::logarithmic, .unit_in_tips = "us"};
    const axis share{.title = "% of the requests", .unit_in_tips = "%", .at_least = 0, .at_most = 100};
    std::string charts;
    for (const std::string what : {"hit", "miss"}) {
        std::vector<series> by_size;
        std::vector<series> by_caller;
        for (const auto& row : rows) {
            if (row.workload != "prefetch" || row.name != what + " p50" || row.distribution.empty())
                continue;
            if (row.parameter("from") == "executor")
                by_size.push_back(distribution_line(row, "N = " + row.parameter("N")));
            if (row.parameter("N") == "64")
                by_caller.push_back(distribution_line(row, row.parameter("from")));
        }
        const auto whose = what == "hit" ? "Prefetch from memory" : "Prefetch of what is nowhere";
        charts += line_chart(fmt::format("{}: from the executor, N keys of 4 KiB", whose), time, share, by_size);
        if (by_caller.size() > 1)
            charts += line_chart(fmt::format("{}: 64 keys, by where the caller runs", whose), time, share, by_caller);
    }
    return charts;
}

/// A colour for each place in memory or on disk.
std::size_t colour_of(const std::string& name)
{
    constexpr std::array<std::string_view, 5> places{"memory", "file, tmpfs", "file, page cache", "file, O_DIRECT",
                                                     "segment"};
    const auto at = std::ranges::find_if(places, [&](std::string_view place) { return name.starts_with(place); });
    return static_cast<std::size_t>(at - places.begin());
}

bar bar_of(const row& from, std::string label)
{
    bar b{.label = std::move(label),
          .value = from.value.median,
          .least = from.value.min,
          .most = from.value.max,
          .tip =
              fmt::format("{} ({}): {} {}, {} to {}", from.name, from.parameters_text(), number_text(from.value.median),
                          from.unit, number_text(from.value.min), number_text(from.value.max)),
          .colour = colour_of(from.name)};
    if (from.ceiling) {
        b.ceiling = from.ceiling->median;
        b.tip += fmt::format("; {}: {} {}", from.ceiling_name, number_text(from.ceiling->median), from.unit);
    }
    return b;
}

/// The rows of a workload with that unit whose names pass.
std::vector<bar> bars_of(row_span rows, std::string_view workload, std::string_view unit,
                         const std::function<std::optional<std::string>(const row&)>& label)
{
    std::vector<bar> bars;
    for (const auto& row : rows)
        if (row.workload == workload && row.unit == unit)
            if (auto text = label(row))
                bars.push_back(bar_of(row, std::move(*text)));
    return bars;
}

std::string throughput_charts(row_span rows)
{
    auto place_and_size = [](const row& row) -> std::optional<std::string> {
        return fmt::format("{} · {}", row.name, row.parameter("objects"));
    };
    auto of_adapter = [](std::string_view way) {
        return [way](const row& row) -> std::optional<std::string> {
            const auto comma = row.name.rfind(", ");
            if (comma == std::string::npos || row.name.substr(comma + 2) != way)
                return std::nullopt;
            const auto objects = row.parameter("objects");
            return fmt::format("{} · {} · depth {}", row.name.substr(0, comma), objects.substr(objects.find("x ") + 2),
                               row.parameter("depth"));
        };
    };
    return bar_chart("Prefetch of large objects", "GiB/s", bars_of(rows, "load", "GiB/s", place_and_size)) +
           bar_chart("Store, from commit until visible", "GiB/s", bars_of(rows, "store", "GiB/s", place_and_size)) +
           bar_chart("Adapter alone, load", "GiB/s", bars_of(rows, "adapter", "GiB/s", of_adapter("load"))) +
           bar_chart("Adapter alone, store", "GiB/s", bars_of(rows, "adapter", "GiB/s", of_adapter("store")));
}

double resident_of(const row& row)
{
    double n = 0;
    for (const char c : row.parameter("resident"))
        if (c >= '0' && c <= '9')
            n = 10 * n + (c - '0');
    return n;
}

std::string scale_charts(row_span rows)
{
    std::vector<series> cost;
    std::vector<series> metadata;
    for (const auto& row : rows) {
        if (row.workload != "scale")
            continue;
        auto& lines = row.name == "metadata" ? metadata : cost;
        auto line = std::ranges::find(lines, row.name, &series::name);
        if (line == lines.end())
            line = lines.insert(lines.end(), {.name = row.name, .points = {}});
        // Against the smallest in the same run, where there is one.
        const auto cost_now = row.name == "metadata" ? row.value.median
                              : row.ceiling          ? row.value.median / row.ceiling->median
                                                     : 1;
        line->points.emplace_back(resident_of(row), cost_now);
    }
    const axis objects{.title = "resident objects", .scale = scale::logarithmic, .unit_in_tips = "objects"};
    return line_chart("What a key costs, against 10,000 resident objects", objects,
                      {.title = "times", .unit_in_tips = "times", .at_least = 0, .at_most = 2}, cost) +
           line_chart("Metadata of an object in L1", objects,
                      {.title = "bytes", .unit_in_tips = "bytes", .at_least = 0, .at_most = 200}, metadata);
}

std::string section(std::string_view heading, const std::string& charts)
{
    return charts.empty() ? std::string{}
                          : fmt::format("<h2>{}</h2>\n<div class=\"charts\">\n{}</div>\n", heading, charts);
}

std::string table_row(const row& row)
{
    auto ratio = std::string{};
    if (row.ratio)
        ratio = fmt::format("{:.2f}<span class=\"share\"><b style=\"width:{:.0f}%\"></b></span>", *row.ratio,
                            100 * std::clamp(*row.ratio, 0.0, 1.0));
    auto target = std::string{};
    if (!row.targets.empty())
        target = fmt::format("<span class=\"{}\">{} {}</span>", row.targets_met() ? "met" : "missed",
                             row.targets_met() ? "✓" : "✗", escaped(row.targets_text()));
    return fmt::format(
        "<tr><td>{}</td><td class=\"faint\">{}</td><td class=\"number median\">{}</td><td class=\"number "
        "faint\">{}</td>"
        "<td class=\"number faint\">{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"faint\">{}</td>"
        "<td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td></tr>\n",
        escaped(row.name), escaped(row.parameters_text()), number_text(row.value.median), number_text(row.value.min),
        number_text(row.value.max), escaped(row.unit), row.ceiling ? number_text(row.ceiling->median) : std::string{},
        row.ceiling ? escaped(row.ceiling_name) : std::string{}, ratio,
        row.cpu ? fmt::format("{} {}", number_text(*row.cpu), escaped(row.cpu_unit)) : std::string{}, target);
}

std::string tables(row_span rows)
{
    std::string html;
    while (!rows.empty()) {
        const auto other = std::ranges::find_if(
            rows, [&](const std::string& name) { return name != rows.front().workload; }, &row::workload);
        const auto same = static_cast<std::size_t>(other - rows.begin());
        html += fmt::format("<h2>{}</h2>\n<div class=\"table\"><table><tr><th>what</th><th></th><th class=\"number\">"
                            "median</th><th class=\"number\">min</th><th class=\"number\">max</th><th>unit</th>"
                            "<th class=\"number\">ceiling</th><th></th><th class=\"number\">ratio</th>"
                            "<th class=\"number\">CPU</th><th>target</th></tr>\n",
                            escaped(rows.front().workload));
        for (const auto& row : rows.first(same))
            html += table_row(row);
        html += "</table></div>\n";
        rows = rows.subspan(same);
    }
    return html;
}

std::string heading(const machine_facts& machine, row_span rows)
{
    const auto with_target = std::ranges::count_if(rows, [](const row& r) { return !r.targets.empty(); });
    const auto met = std::ranges::count_if(rows, [](const row& r) { return !r.targets.empty() && r.targets_met(); });
    std::string facts;
    for (const auto& [name, value] : machine)
        facts += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", escaped(name), escaped(value));
    return fmt::format("<h1>terrace bench</h1>\n<p class=\"faint\">{} rows, of which {} have a target; {} of these are "
                       "met. Each is the median of {} runs, beside a ceiling that was measured between them.</p>\n"
                       "<dl>{}</dl>\n",
                       rows.size(), with_target, met, rows.empty() ? 0 : rows.front().runs, facts);
}

} // namespace

std::string to_html(const machine_facts& machine, std::span<const row> rows)
{
    return fmt::format("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                       "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                       "<title>terrace bench</title>\n<style>{}</style></head>\n<body>\n{}{}{}{}{}</body></html>\n",
                       style, heading(machine, rows), section("Latency", latency_charts(rows)),
                       section("Throughput", throughput_charts(rows)), section("Scale", scale_charts(rows)),
                       tables(rows));
}

} // namespace terrace::bench
