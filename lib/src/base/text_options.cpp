#include <terrace/text_options.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <limits>
#include <numeric>
#include <span>
#include <stdexcept>

namespace terrace {

namespace {

/// A unit and what it stands for; the name in lower case.
struct unit {
    std::string_view name;
    std::uint64_t factor;
};

constexpr std::uint64_t kibi = 1024;
constexpr std::uint64_t mebi = 1024 * kibi;
constexpr std::uint64_t gibi = 1024 * mebi;
constexpr std::uint64_t tebi = 1024 * gibi;
constexpr std::array byte_units{
    unit{"", 1},
    unit{"b", 1},
    unit{"kb", 1'000},
    unit{"mb", 1'000'000},
    unit{"gb", 1'000'000'000},
    unit{"tb", 1'000'000'000'000},
    unit{"k", kibi},
    unit{"m", mebi},
    unit{"g", gibi},
    unit{"t", tebi},
    unit{"kib", kibi},
    unit{"mib", mebi},
    unit{"gib", gibi},
    unit{"tib", tebi},
};

constexpr std::array time_units{
    unit{"ns", 1},
    unit{"us", 1'000},
    unit{"ms", 1'000'000},
    unit{"s", 1'000'000'000},
    unit{"min", 60'000'000'000},
    unit{"h", 3'600'000'000'000},
};

// What messages say that they expected.
constexpr std::string_view a_size = "a number of bytes such as 4096, 64KiB or 1.5GiB";
constexpr std::string_view a_duration = "a number with a unit of ns, us, ms, s, min or h, such as 10us";

constexpr std::string_view digits = "0123456789";

/// The number that the whole text spells in decimal digits.
std::optional<std::uint64_t> parse_number(std::string_view text) noexcept
{
    std::uint64_t n = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return n;
}

/// The part of `factor` that the digits after a decimal point stand for, if it is whole.
std::optional<std::uint64_t> parse_fraction(std::string_view text, std::uint64_t factor) noexcept
{
    text = text.substr(0, text.find_last_not_of('0') + 1);
    if (text.empty())
        return 0;
    if (text.size() > 19)
        return std::nullopt; // 10^20 passes 64 bits, and so fine a part of any unit here is not whole
    auto numerator = parse_number(text);
    if (!numerator)
        return std::nullopt;
    std::uint64_t denominator = 1;
    for (std::size_t i = 0; i < text.size(); ++i)
        denominator *= 10;
    // Without their common divisor the factor and the denominator share none: the numerator has to bring the rest.
    auto common = std::gcd(factor, denominator);
    if (*numerator % (denominator / common) != 0)
        return std::nullopt;
    return *numerator / (denominator / common) * (factor / common);
}

/// "1.5GiB" or "1.5 GiB" in terms of one of the units, exactly; nothing if it is not that, not whole, or not in 64
/// bits.
std::optional<std::uint64_t> parse_scaled(std::string_view text, std::span<const unit> units)
{
    auto take_digits = [&] {
        auto taken = text.substr(0, text.find_first_not_of(digits));
        text.remove_prefix(taken.size());
        return taken;
    };
    auto whole = parse_number(take_digits());
    std::string_view fraction;
    if (text.starts_with('.')) {
        text.remove_prefix(1);
        fraction = take_digits();
        if (fraction.empty())
            return std::nullopt;
    }
    if (text.size() > 1 && text.front() == ' ')
        text.remove_prefix(1);
    std::string name{text};
    std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
    auto found = std::ranges::find(units, name, &unit::name);
    if (!whole || found == units.end())
        return std::nullopt;
    auto rest = parse_fraction(fraction, found->factor);
    if (!rest || *whole > (std::numeric_limits<std::uint64_t>::max() - *rest) / found->factor)
        return std::nullopt;
    return *whole * found->factor + *rest;
}

std::optional<std::chrono::nanoseconds> parse_time(std::string_view text)
{
    const auto ns = parse_scaled(text, time_units);
    if (!ns || *ns > static_cast<std::uint64_t>(std::chrono::nanoseconds::max().count()))
        return std::nullopt;
    return std::chrono::nanoseconds{static_cast<std::int64_t>(*ns)};
}

} // namespace

text_options::text_options(std::string subject, std::string_view query) : subject_{std::move(subject)}
{
    while (!query.empty()) {
        query.remove_prefix(1); // '?', then '&'
        const auto end = std::min(query.find('&'), query.size());
        const auto option = query.substr(0, end);
        query.remove_prefix(end);
        const auto equals = option.find('=');
        if (equals == std::string_view::npos || equals == 0)
            throw std::invalid_argument(
                fmt::format("{}: malformed option {:?}; expected option=value", subject_, option));
        const auto name = option.substr(0, equals);
        if (!options_.emplace(name, option.substr(equals + 1)).second)
            throw std::invalid_argument(fmt::format("{}: option {:?} stands twice; expected it once", subject_, name));
    }
}

std::optional<std::string> text_options::take(const std::string& option)
{
    known_ += known_.empty() ? "" : ", ";
    known_ += option;
    auto taken = options_.extract(option);
    if (!taken)
        return std::nullopt;
    return std::move(taken.mapped());
}

void text_options::reject(std::string_view option, std::string_view value, std::string_view expected) const
{
    throw std::invalid_argument(fmt::format("{}: option {}: {:?} is not {}", subject_, option, value, expected));
}

std::optional<std::uint64_t> text_options::take_bytes(const std::string& option)
{
    auto value = take(option);
    if (!value)
        return std::nullopt;
    auto bytes = parse_scaled(*value, byte_units);
    if (!bytes)
        reject(option, *value, fmt::format("a size; expected {}", a_size));
    return bytes;
}

std::optional<std::uint64_t> text_options::take_count(const std::string& option)
{
    auto value = take(option);
    if (!value)
        return std::nullopt;
    auto count = parse_number(*value);
    if (!count)
        reject(option, *value, "a count; expected a plain number");
    return count;
}

std::optional<std::chrono::nanoseconds> text_options::take_duration(const std::string& option)
{
    auto value = take(option);
    if (!value)
        return std::nullopt;
    auto duration = parse_time(*value);
    if (!duration)
        reject(option, *value, fmt::format("a duration; expected {}", a_duration));
    return duration;
}

void text_options::expect_all_taken() const
{
    if (options_.empty())
        return;
    const auto& unknown = options_.begin()->first;
    if (known_.empty())
        throw std::invalid_argument(fmt::format("{}: unknown option {:?}; expected none", subject_, unknown));
    throw std::invalid_argument(fmt::format("{}: unknown option {:?}; expected one of {}", subject_, unknown, known_));
}

std::uint64_t parse_bytes(std::string_view text)
{
    auto bytes = parse_scaled(text, byte_units);
    if (!bytes)
        throw std::invalid_argument(fmt::format("{:?} is not a size; expected {}", text, a_size));
    return *bytes;
}

std::chrono::nanoseconds parse_duration(std::string_view text)
{
    auto duration = parse_time(text);
    if (!duration)
        throw std::invalid_argument(fmt::format("{:?} is not a duration; expected {}", text, a_duration));
    return *duration;
}

std::string format_bytes(std::uint64_t bytes)
{
    constexpr std::array names{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < kibi)
        return fmt::format("{} B", bytes);
    auto number = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (number >= 1023.5) { // what would be shown as 1024 is 1 of the next unit
        number /= 1024;
        ++unit;
    }
    int decimals = number < 9.995 ? 2 : number < 99.95 ? 1 : 0; // three digits
    auto shown = fmt::format("{:.{}f}", number, decimals);
    if (decimals > 0)
        shown.erase(shown.find_last_not_of('0') + 1);
    if (shown.ends_with('.'))
        shown.pop_back();
    return fmt::format("{} {}", shown, names[unit]);
}

std::string format_exact_bytes(std::uint64_t bytes)
{
    constexpr std::array names{"B", "KiB", "MiB", "GiB", "TiB"};
    std::size_t unit = 0;
    for (; bytes != 0 && bytes % kibi == 0 && unit + 1 < names.size(); ++unit)
        bytes /= kibi;
    return fmt::format("{} {}", bytes, names[unit]);
}

std::string format_duration(std::chrono::nanoseconds duration)
{
    constexpr std::array names{"ns", "us", "ms", "s"};
    auto number = duration.count();
    std::size_t unit = number == 0 ? names.size() - 1 : 0;
    for (; number != 0 && number % 1000 == 0 && unit + 1 < names.size(); ++unit)
        number /= 1000;
    return fmt::format("{} {}", number, names[unit]);
}

} // namespace terrace
