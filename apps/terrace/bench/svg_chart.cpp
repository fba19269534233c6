#include "bench/svg_chart.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "bench/row.hpp"

namespace terrace::bench {
namespace {

constexpr std::size_t colours = 6;

std::string colour(std::size_t i)
{
    return fmt::format("var(--series-{})", i % colours + 1);
}

/// Where the values of an axis lie between two pixels, and which of them are written beside it.
class placement {
public:
    placement(const axis& of, double least, double most, double from, double to)
        : logarithmic_{of.scale == scale::logarithmic},
          from_{from},
          to_{to}
    {
        least = std::min(least, of.at_least.value_or(least));
        most = std::max(most, of.at_most.value_or(most));
        if (logarithmic_)
            place_decades(std::max(least, 1e-9), std::max(most, 1e-9));
        else
            place_steps(least, most);
    }

    [[nodiscard]] double pixel(double value) const
    {
        const auto share = (position(value) - position(least_)) / (position(most_) - position(least_));
        return from_ + std::clamp(share, 0.0, 1.0) * (to_ - from_);
    }
    [[nodiscard]] const std::vector<double>& ticks() const noexcept { return ticks_; }

private:
    [[nodiscard]] double position(double value) const
    {
        return logarithmic_ ? std::log10(std::max(value, 1e-9)) : value;
    }

    void place_decades(double least, double most)
    {
        auto fits = [](double value, bool up) { // the nearest of 1, 2 and 5 times a power of ten
            const auto decade = std::pow(10.0, std::floor(std::log10(value)));
            const auto digits = value / decade;
            if (up)
                return decade * (digits <= 1.0001 ? 1 : digits <= 2 ? 2 : digits <= 5 ? 5 : 10);
            return decade * (digits >= 5 ? 5 : digits >= 2 ? 2 : 1);
        };
        least_ = fits(least, false);
        most_ = std::max(fits(most, true), least_ * 2);
        const bool every_decade_only = most_ / least_ > 2'000;
        for (auto decade = std::pow(10.0, std::floor(std::log10(least_) + 1e-9)); decade <= most_ * 1.001; decade *= 10)
            for (const double digit : {1.0, 2.0, 5.0})
                if (const auto at = decade * digit;
                    at >= least_ * 0.999 && at <= most_ * 1.001 && (digit == 1.0 || !every_decade_only))
                    ticks_.push_back(at);
    }

    void place_steps(double least, double most)
    {
        least_ = std::min(least, 0.0);
        const auto raw = std::max((most - least_) / 5, 1e-9);
        const auto decade = std::pow(10.0, std::floor(std::log10(raw)));
        const auto digits = raw / decade;
        const auto step = decade * (digits <= 1 ? 1 : digits <= 2 ? 2 : digits <= 2.5 ? 2.5 : digits <= 5 ? 5 : 10);
        most_ = std::ceil(most / step - 1e-9) * step;
        for (auto at = least_; at <= most_ + step / 2; at += step)
            ticks_.push_back(at);
        most_ = std::max(most_, least_ + step);
    }

    bool logarithmic_;
    double from_;
    double to_;
    double least_ = 0;
    double most_ = 1;
    std::vector<double> ticks_;
};

std::string tick_text(double value)
{
    if (value >= 1e6)
        return fmt::format("{:g} M", value / 1e6);
    if (value >= 10'000)
        return fmt::format("{:g} k", value / 1e3);
    return fmt::format("{:g}", value);
}

std::string figure(const std::string& title, double width, double height, const std::string& drawing,
                   const std::string& legend)
{
    return fmt::format("<figure><figcaption>{}</figcaption>\n<svg viewBox=\"0 0 {:g} {:g}\" role=\"img\" "
                       "aria-label=\"{}\">\n{}</svg>\n{}</figure>\n",
                       escaped(title), width, height, escaped(title), drawing, legend);
}

std::string legend_of(const std::vector<series>& lines)
{
    std::string items;
    for (std::size_t i = 0; i < lines.size(); ++i)
        items += fmt::format("<span><i style=\"background:{}\"></i>{}</span>", colour(i), escaped(lines[i].name));
    return fmt::format("<div class=\"legend\">{}</div>\n", items);
}

} // namespace

std::string escaped(std::string_view text)
{
    std::string out;
    for (const char c : text) {
        switch (c) {
        case '&':
            out += "&amp;";
            break;
        case '<':
            out += "&lt;";
            break;
        case '>':
            out += "&gt;";
            break;
        case '"':
            out += "&quot;";
            break;
        default:
            out += c;
        }
    }
    return out;
}

std::string line_chart(const std::string& title, const axis& x, const axis& y, const std::vector<series>& lines)
{
    constexpr double width = 560;
    constexpr double height = 330;
    constexpr double left = 58;
    constexpr double right = width - 16;
    constexpr double top = 14;
    constexpr double bottom = height - 46;

    std::vector<double> xs;
    std::vector<double> ys;
    for (const auto& line : lines)
        for (const auto& [px, py] : line.points) {
            xs.push_back(px);
            ys.push_back(py);
        }
    if (xs.empty())
        return {};
    const placement across{x, std::ranges::min(xs), std::ranges::max(xs), left, right};
    const placement up{y, std::ranges::min(ys), std::ranges::max(ys), bottom, top};

    std::string svg;
    for (const auto tick : across.ticks())
        svg += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\"/>"
                           "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>\n",
                           across.pixel(tick), top, bottom, bottom + 17, tick_text(tick));
    for (const auto tick : up.ticks())
        svg += fmt::format("<line class=\"grid\" x1=\"{1}\" y1=\"{0:.1f}\" x2=\"{2}\" y2=\"{0:.1f}\"/>"
                           "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5}</text>\n",
                           up.pixel(tick), left, right, left - 7, up.pixel(tick) + 4, tick_text(tick));
    svg += fmt::format(
        "<text class=\"axis\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>"
        "<text class=\"axis\" x=\"{}\" y=\"13\" text-anchor=\"middle\" transform=\"rotate(-90)\">{}</text>\n",
        (left + right) / 2, height - 8, escaped(x.title), -(top + bottom) / 2, escaped(y.title));
    for (std::size_t i = 0; i < lines.size(); ++i) {
        std::string path;
        std::string dots;
        for (const auto& [px, py] : lines[i].points) {
            const auto cx = across.pixel(px);
            const auto cy = up.pixel(py);
            path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", cx, cy);
            dots +=
                fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"><title>{}: {} {} at {} {}</title>"
                            "</circle>",
                            cx, cy, colour(i), escaped(lines[i].name), number_text(py), escaped(y.unit_in_tips),
                            number_text(px), escaped(x.unit_in_tips));
        }
        svg +=
            fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>{}\n", path, colour(i), dots);
    }
    return figure(title, width, height, svg, legend_of(lines));
}

std::string bar_chart(const std::string& title, const std::string& unit, const std::vector<bar>& bars)
{
    if (bars.empty())
        return {};
    constexpr double width = 560;
    constexpr double left = 210;
    constexpr double right = width - 60;
    constexpr double pitch = 23;
    constexpr double thickness = 13;
    const auto bottom = 8 + pitch * static_cast<double>(bars.size());
    double most = 0;
    for (const auto& b : bars)
        most = std::max({most, b.value, b.ceiling.value_or(0)});
    const placement across{{.title = unit}, 0, most, left, right};

    std::string svg;
    for (const auto tick : across.ticks())
        svg += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" y1=\"4\" x2=\"{0:.1f}\" y2=\"{1}\"/>"
                           "<text x=\"{0:.1f}\" y=\"{2}\" text-anchor=\"middle\">{3}</text>\n",
                           across.pixel(tick), bottom, bottom + 16, tick_text(tick));
    auto y = 8.0;
    for (const auto& b : bars) {
        const auto end = across.pixel(b.value);
        const auto middle = y + thickness / 2;
        svg += fmt::format("<g><title>{}</title><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>"
                           "<rect x=\"{}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" rx=\"2\" fill=\"{}\"/>"
                           "<line class=\"range\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\"/>",
                           escaped(b.tip), left - 8, middle + 4, escaped(b.label), left, y, std::max(end - left, 1.0),
                           thickness, colour(b.colour), across.pixel(b.least), across.pixel(b.most), middle, middle);
        auto text_at = std::max(end, across.pixel(b.most));
        if (b.ceiling) {
            const auto at = across.pixel(*b.ceiling);
            svg += fmt::format("<line class=\"ceiling\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>", at,
                               y - 3, y + thickness + 3);
            text_at = std::max(text_at, at);
        }
        svg += fmt::format("<text class=\"value\" x=\"{:.1f}\" y=\"{}\">{}</text></g>\n", text_at + 6, middle + 4,
                           number_text(b.value));
        y += pitch;
    }
    svg += fmt::format("<text class=\"axis\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", (left + right) / 2,
                       bottom + 34, escaped(unit));
    return figure(title, width, bottom + 42, svg,
                  "<div class=\"legend\"><span><i class=\"mark\"></i>ceiling, in the same run</span>"
                  "<span><i class=\"whisker\"></i>all runs</span></div>\n");
}

} // namespace terrace::bench
