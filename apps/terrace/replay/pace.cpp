#include "replay/pace.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>

#include "replay/text.hpp"

namespace terrace::replay {

pace pace::parse(std::string_view text)
{
    if (text == "asap")
        return asap();
    if (text == "real")
        return times(1);
    try {
        return times(parse_positive("--pace", text));
    } catch (const std::invalid_argument&) {
        throw std::invalid_argument(fmt::format("--pace {:?}: expected asap, real or a factor > 0", text));
    }
}

std::string pace::to_string() const
{
    if (!factor_)
        return "asap";
    return *factor_ == 1 ? "real" : fmt::format("{} x real", *factor_);
}

std::chrono::nanoseconds pace::due(std::uint64_t timestamp_ms, std::uint64_t first_ms) const noexcept
{
    if (!factor_ || timestamp_ms <= first_ms)
        return {};
    const std::chrono::duration<double, std::milli> after{static_cast<double>(timestamp_ms - first_ms) / *factor_};
    const std::chrono::duration<double, std::milli> latest{std::chrono::years{50}}; // nanoseconds hold 292
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::min(after, latest));
}

} // namespace terrace::replay
