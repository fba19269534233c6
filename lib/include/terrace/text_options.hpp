#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <terrace/api.hpp>

namespace terrace {

/// Options as text, behind the name of what they are for: `?option=value&option=value`.
///
/// Every member that throws throws std::invalid_argument, which names the subject, the offending part and what was
/// expected.
class TERRACE_API text_options {
public:
    /// subject  what the options are for, as error messages shall name it
    /// query    empty, or from the '?' on
    ///
    /// Throws if an option is malformed or stands twice.
    text_options(std::string subject, std::string_view query);

    [[nodiscard]] const std::string& subject() const noexcept { return subject_; }

    /// The option's value, which is thereby known; nothing if it was not given.
    [[nodiscard]] std::optional<std::string> take(const std::string& option);
    [[nodiscard]] std::optional<std::uint64_t> take_bytes(const std::string& option); ///< as parse_bytes()
    [[nodiscard]] std::optional<std::uint64_t> take_count(const std::string& option); ///< a plain number
    [[nodiscard]] std::optional<std::chrono::nanoseconds>
    take_duration(const std::string& option); ///< parse_duration()

    /// Throws if an option is left that nobody took, naming it and those that were asked for.
    void expect_all_taken() const;

private:
    [[noreturn]] void reject(std::string_view option, std::string_view value, std::string_view expected) const;

    std::string subject_;
    std::map<std::string, std::string> options_;
    std::string known_; // the options asked for, for the error message
};

/// "4096", "64KiB", "1.5 GiB", "20GB": a number with a unit of 1000 (kB, MB, GB, TB) or 1024 (KiB, MiB, GiB, TiB; also
/// K, M, G, T), or B or none, case ignored, one space between them or none. Throws std::invalid_argument for anything
/// else, and for what is not a whole number of bytes.
[[nodiscard]] TERRACE_API std::uint64_t parse_bytes(std::string_view text);

/// "10us", "2.5 ms", "5 min": a number with a unit of ns, us, ms, s, min or h, case ignored, one space between them or
/// none. Throws std::invalid_argument for anything else, and for what is not a whole number of nanoseconds.
[[nodiscard]] TERRACE_API std::chrono::nanoseconds parse_duration(std::string_view text);

/// The largest unit of 1024 that keeps the number readable: "64 KiB", "1.5 GiB".
[[nodiscard]] TERRACE_API std::string format_bytes(std::uint64_t bytes);

// The same number in the largest unit in which it is whole, "1536 KiB" or "1500 ms": what parses to the same again.
[[nodiscard]] TERRACE_API std::string format_exact_bytes(std::uint64_t bytes);
[[nodiscard]] TERRACE_API std::string format_duration(std::chrono::nanoseconds duration); ///< s at most: "90 s"

} // namespace terrace
