#include "replay/text.hpp"

#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <stdexcept>

namespace terrace::replay {
namespace {

/// All of the text as one number, or false.
template <class Number>
bool read_number(std::string_view text, Number& n)
{
    const auto* end = text.data() + text.size();
    auto [stopped, error] = std::from_chars(text.data(), end, n);
    return error == std::errc{} && stopped == end;
}

} // namespace

std::uint64_t parse_count(std::string_view option, std::string_view text, std::uint64_t least, std::uint64_t most)
{
    std::uint64_t n = 0;
    if (read_number(text, n) && n >= least && n <= most)
        return n;
    if (most == std::numeric_limits<std::uint64_t>::max())
        throw std::invalid_argument(fmt::format("{} {:?}: expected a whole number >= {}", option, text, least));
    throw std::invalid_argument(
        fmt::format("{} {:?}: expected a whole number from {} to {}", option, text, least, most));
}

double parse_positive(std::string_view option, std::string_view text)
{
    double n = 0;
    if (read_number(text, n) && std::isfinite(n) && n > 0)
        return n;
    throw std::invalid_argument(fmt::format("{} {:?}: expected a number > 0", option, text));
}

std::string grouped(std::uint64_t n)
{
    auto digits = std::to_string(n);
    for (auto i = digits.size(); i > 3; i -= 3)
        digits.insert(i - 3, 1, ',');
    return digits;
}

} // namespace terrace::replay
