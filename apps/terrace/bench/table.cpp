#include <algorithm>
#include <array>
#include <fmt/format.h>

#include <terrace/text_options.hpp>

#include "bench/report.hpp"

namespace terrace::bench {
namespace {

constexpr std::size_t columns = 10;
using line = std::array<std::string, columns>;

const line& heading()
{
    static const line names{"what", "", "median", "min", "max", "unit", "ceiling", "ratio", "CPU", "target"};
    return names;
}

line line_of(const row& row)
{
    line cells{row.name,
               row.parameters_text(),
               number_text(row.value.median),
               number_text(row.value.min),
               number_text(row.value.max),
               row.unit};
    if (row.ceiling)
        cells[6] = fmt::format("{} ({})", number_text(row.ceiling->median), row.ceiling_name);
    if (row.ratio)
        cells[7] = fmt::format("{:.2f}", *row.ratio);
    if (row.cpu)
        cells[8] = fmt::format("{} {}", number_text(*row.cpu), row.cpu_unit);
    if (!row.targets.empty())
        cells[9] = fmt::format("{}: {}", row.targets_text(), row.targets_met() ? "met" : "MISSED");
    return cells;
}

/// Numbers line up at their right.
bool is_number(std::size_t column)
{
    return (column >= 2 && column <= 4) || column == 7;
}

std::string to_line(const line& cells, const std::array<std::size_t, columns>& widths)
{
    std::string text = " ";
    for (std::size_t i = 0; i < columns; ++i)
        if (widths[i] != 0)
            text += is_number(i) ? fmt::format(" {:>{}} ", cells[i], widths[i])
                                 : fmt::format(" {:<{}} ", cells[i], widths[i]);
    text.erase(text.find_last_not_of(' ') + 1);
    return text + '\n';
}

/// The rows of one workload.
std::string table_of(std::span<const row> rows)
{
    std::vector<line> lines;
    for (const auto& row : rows)
        lines.push_back(line_of(row));
    std::array<std::size_t, columns> widths{};
    for (std::size_t i = 0; i < columns; ++i) {
        for (const auto& cells : lines)
            widths[i] = std::max(widths[i], cells[i].size());
        if (widths[i] != 0) // a column that no row fills is left out
            widths[i] = std::max(widths[i], heading()[i].size());
    }
    std::uint64_t peak = 0;
    for (const auto& row : rows)
        peak = std::max(peak, row.peak_rss_bytes);

    std::string text = to_line(heading(), widths);
    for (const auto& cells : lines)
        text += to_line(cells, widths);
    return text + fmt::format("  {} runs each; the process took {:.0f} MiB at most\n", rows.front().runs,
                              static_cast<double>(peak) / 0x1p20);
}

} // namespace

std::string to_table(std::span<const row> rows)
{
    std::string text;
    while (!rows.empty()) {
        const auto other = std::ranges::find_if(
            rows, [&](const std::string& name) { return name != rows.front().workload; }, &row::workload);
        const auto same = static_cast<std::size_t>(other - rows.begin());
        text += (text.empty() ? "" : "\n") + table_of(rows.first(same));
        rows = rows.subspan(same);
    }
    return text;
}

} // namespace terrace::bench
