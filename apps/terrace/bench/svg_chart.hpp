#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace terrace::bench {

/// The text with what HTML and SVG would take for markup replaced.
[[nodiscard]] std::string escaped(std::string_view text);

/// A line of a chart: its points in ascending order of x.
struct series {
    std::string name;
    std::vector<std::pair<double, double>> points;
};

/// How the values of an axis are placed.
enum class scale : std::uint8_t { linear, logarithmic };

struct axis {
    std::string title;
    bench::scale scale = bench::scale::linear;
    std::string unit_in_tips = {};       ///< after a value that is pointed at
    std::optional<double> at_least = {}; ///< the axis reaches there, whatever the values
    std::optional<double> at_most = {};
};

/// A figure element: lines in the colours of the page's --series-1, --series-2, ... and a legend. Nothing if no series
/// has a point.
[[nodiscard]] std::string line_chart(const std::string& title, const axis& x, const axis& y,
                                     const std::vector<series>& lines);

/// A bar from zero to a value.
struct bar {
    std::string label;
    double value = 0;
    double least = 0; ///< of the runs
    double most = 0;
    std::optional<double> ceiling = {};
    std::string tip;        ///< shown when it is pointed at
    std::size_t colour = 0; ///< which of the page's --series-...
};

/// A figure element: horizontal bars, with a mark at each one's ceiling. Nothing if there are no bars.
[[nodiscard]] std::string bar_chart(const std::string& title, const std::string& unit, const std::vector<bar>& bars);

} // namespace terrace::bench
