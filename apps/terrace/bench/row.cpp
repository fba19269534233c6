#include "bench/row.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "replay/text.hpp"

namespace terrace::bench {

spread spread::of(std::span<const double> values)
{
    std::vector<double> sorted{values.begin(), values.end()};
    std::ranges::sort(sorted);
    const auto middle = sorted.size() / 2;
    const auto median = sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    return {.min = sorted.front(), .median = median, .max = sorted.back()};
}

bool target::met(const row& row) const
{
    switch (kind_) {
    case kind::at_most:
        return row.value.median <= limit_;
    case kind::at_least:
        return row.value.median >= limit_;
    case kind::exactly:
        return row.value.min == limit_ && row.value.max == limit_;
    case kind::ratio:
        return row.ratio && *row.ratio >= limit_;
    case kind::above_ceiling:
        return row.ceiling && row.value.median <= row.ceiling->median + limit_;
    }
    return false;
}

std::string target::to_string(const row& row) const
{
    switch (kind_) {
    case kind::at_most:
        return fmt::format("<= {} {}", number_text(limit_), row.unit);
    case kind::at_least:
        return fmt::format(">= {} {}", number_text(limit_), row.unit);
    case kind::exactly:
        return fmt::format("= {} {}", number_text(limit_), row.unit);
    case kind::ratio:
        return fmt::format(">= {:.2g} x ceiling", limit_);
    case kind::above_ceiling:
        return fmt::format("<= ceiling + {:g} {}", limit_, row.unit);
    }
    return {};
}

bool row::targets_met() const
{
    return std::ranges::all_of(targets, [this](const target& t) { return t.met(*this); });
}

std::string row::targets_text() const
{
    std::string text;
    for (const auto& t : targets)
        text += fmt::format("{}{}", text.empty() ? "" : " and ", t.to_string(*this));
    return text;
}

std::string row::parameter(const std::string& key) const
{
    const auto it = std::ranges::find(parameters, key, &std::pair<std::string, std::string>::first);
    return it == parameters.end() ? std::string{} : it->second;
}

std::string row::parameters_text() const
{
    std::string text;
    for (const auto& [what, setting] : parameters)
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", what, setting);
    return text;
}

std::string number_text(double value)
{
    const auto size = std::abs(value);
    if (!std::isfinite(value))
        return "-";
    if (size >= 1000)
        return fmt::format("{}{}", value < 0 ? "-" : "", replay::grouped(static_cast<std::uint64_t>(size + 0.5)));
    if (size >= 100)
        return fmt::format("{:.0f}", value);
    if (size >= 10)
        return fmt::format("{:.1f}", value);
    if (size >= 1 || size == 0)
        return fmt::format("{:.2f}", value);
    return fmt::format("{:.3g}", value);
}

} // namespace terrace::bench
