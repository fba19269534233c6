#pragma once

#include <algorithm>
#include <bit>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <fmt/format.h>
#include <iterator>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <terrace/setting.hpp>
#include <terrace/text_options.hpp>

/// Settings by the kind of their value: how it is written, which values there are, and what is said of others.
namespace terrace::setting_kinds {

struct about {
    std::string key;
    std::string member;
    std::string meaning;
};

/// Which numbers a setting takes, and what else is said of them.
struct number_range {
    std::uint64_t least = 0;
    std::uint64_t most = 0;
    std::string note = "";
    bool (*also)(std::uint64_t) = nullptr;
};

inline constexpr std::chrono::milliseconds longest = std::chrono::hours{24 * 365};

[[noreturn]] inline void refuse(std::string_view text, std::string_view expected)
{
    throw std::invalid_argument(fmt::format("{:?} is out of range; expected {}", text, expected));
}

inline bool is_power_of_two(std::uint64_t n)
{
    return std::has_single_bit(n);
}

inline void check_range(std::string_view text, std::uint64_t n, const number_range& range, std::string_view expected)
{
    if (n < range.least || n > range.most || (range.also != nullptr && !range.also(n)))
        refuse(text, expected);
}

inline std::uint64_t parse_whole_number(std::string_view text, std::string_view expected)
{
    std::uint64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || end != text.data() + text.size() || text.empty())
        throw std::invalid_argument(fmt::format("{:?} is not a whole number; expected {}", text, expected));
    return n;
}

inline std::string range_of_counts(const number_range& range)
{
    if (range.most < std::numeric_limits<std::uint32_t>::max())
        return fmt::format("{} to {}{}", range.least, range.most, range.note);
    return fmt::format("{}{}", range.least == 0 ? std::string{"any"} : fmt::format("at least {}", range.least),
                       range.note);
}

inline std::string range_of_sizes(const number_range& range)
{
    if (range.most <= std::uint64_t{1} << 47)
        return fmt::format("{} to {}{}", format_exact_bytes(range.least), format_exact_bytes(range.most), range.note);
    return fmt::format("{}{}", range.least == 0 ? "any" : fmt::format("at least {}", format_exact_bytes(range.least)),
                       range.note);
}

inline std::string format_hours(std::chrono::milliseconds whole_hours)
{
    return fmt::format("{} h", std::chrono::duration_cast<std::chrono::hours>(whole_hours).count());
}

/// "a, b or c"
inline std::string alternatives(const std::vector<std::string>& words)
{
    std::string text;
    for (std::size_t i = 0; i < words.size(); ++i)
        text += fmt::format("{}{}", i == 0 ? "" : i + 1 == words.size() ? " or " : ", ", words[i]);
    return text;
}

/// Makers of the settings of a Target. `where` answers a reference to the value in a Target.
template <class Target>
struct kinds {
    using one = basic_setting<Target>;

    template <class Where>
    static one size(about what, Where where, number_range range)
    {
        const std::string expected = range_of_sizes(range);
        return finish(
            what, "size", "", expected, [where](const Target& t) { return format_exact_bytes(where(t)); },
            [where, range, expected](Target& t, std::string_view text) {
                const std::uint64_t bytes = parse_bytes(text);
                check_range(text, bytes, range, expected);
                auto& value = where(t);
                value = static_cast<std::remove_reference_t<decltype(value)>>(bytes);
            });
    }

    template <class Where>
    static one count(about what, std::string unit, Where where, number_range range)
    {
        const std::string expected = range_of_counts(range);
        return finish(
            what, "count", std::move(unit), expected, [where](const Target& t) { return fmt::format("{}", where(t)); },
            [where, range, expected](Target& t, std::string_view text) {
                const std::uint64_t n = parse_whole_number(text, expected);
                check_range(text, n, range, expected);
                auto& value = where(t);
                value = static_cast<std::remove_reference_t<decltype(value)>>(n);
            });
    }

    /// A number, or none.
    template <class Where>
    static one optional_count(about what, Where where, number_range range)
    {
        const std::string expected = range_of_counts(range);
        return finish(
            what, "count", "", expected,
            [where](const Target& t) {
                const auto& value = where(t);
                return value ? fmt::format("{}", *value) : std::string{"none"};
            },
            [where, range, expected](Target& t, std::string_view text) {
                auto& value = where(t);
                if (text == "none")
                    return value.reset();
                const std::uint64_t n = parse_whole_number(text, expected);
                check_range(text, n, range, expected);
                value = static_cast<typename std::remove_reference_t<decltype(value)>::value_type>(n);
            });
    }

    template <class Where>
    static one share(about what, Where where, std::string expected, bool (*allowed)(double))
    {
        return finish(
            what, "share", "of L1", expected, [where](const Target& t) { return fmt::format("{}", where(t)); },
            [where, expected, allowed](Target& t, std::string_view text) {
                double value = 0;
                const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
                if (error != std::errc{} || end != text.data() + text.size())
                    throw std::invalid_argument(fmt::format("{:?} is not a share; expected {}", text, expected));
                if (!allowed(value))
                    refuse(text, expected);
                where(t) = value;
            });
    }

    /// Of whole milliseconds, more than none.
    template <class Where>
    static one duration(about what, Where where, std::chrono::milliseconds most)
    {
        const std::string expected = most == longest ? "1 ms to a year" : "1 ms to " + format_hours(most);
        return finish(
            what, "duration", "", expected, [where](const Target& t) { return format_duration(where(t)); },
            [where, most, expected](Target& t, std::string_view text) {
                const auto value = parse_duration(text);
                const auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(value);
                if (whole != value)
                    throw std::invalid_argument(
                        fmt::format("{:?} is not in whole milliseconds; expected {}", text, expected));
                if (whole.count() < 1 || whole > most)
                    refuse(text, expected);
                where(t) = whole;
            });
    }

    template <class Enum, class Where>
    static one name(about what, Where where, std::vector<std::pair<std::string, Enum>> names)
    {
        std::vector<std::string> words;
        for (const auto& [word, value] : names)
            words.push_back(word);
        const std::string expected = alternatives(words);
        return finish(
            what, "name", "", expected,
            [where, names](const Target& t) {
                return std::ranges::find(names, where(t), &std::pair<std::string, Enum>::second)->first;
            },
            [where, names, expected](Target& t, std::string_view text) {
                const auto found = std::ranges::find(names, text, &std::pair<std::string, Enum>::first);
                if (found == names.end())
                    throw std::invalid_argument(fmt::format("{:?} is unknown; expected {}", text, expected));
                where(t) = found->second;
            });
    }

    /// Of which `set` knows what may be said.
    static one text(about what, std::string type, std::string range, std::function<std::string(const Target&)> get,
                    std::function<void(Target&, const std::string&)> set)
    {
        return finish(what, std::move(type), "", std::move(range), std::move(get),
                      [set = std::move(set)](Target& t, std::string_view value) { set(t, std::string{value}); });
    }

private:
    static one finish(about& what, std::string type, std::string unit, std::string range,
                      std::function<std::string(const Target&)> get, std::function<void(Target&, std::string_view)> set)
    {
        return {std::move(what.key), std::move(what.member),  std::move(type), std::move(unit),
                std::move(range),    std::move(what.meaning), std::move(get),  std::move(set)};
    }
};

} // namespace terrace::setting_kinds
