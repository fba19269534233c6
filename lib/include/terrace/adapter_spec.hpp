#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace terrace {

/// An adapter as text: how programs and configuration files name one.
///
///     type:place?option=value&option=value        memory:   file:/var/cache/terrace?capacity=20GiB
///
/// Every member that throws throws std::invalid_argument, which names the spec, the offending part and what was
/// expected.
class adapter_spec {
public:
    /// Throws if the text has no type, or an option is malformed or stands twice.
    [[nodiscard]] static adapter_spec parse(std::string_view text);

    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    [[nodiscard]] const std::string& type() const noexcept { return type_; }
    [[nodiscard]] const std::string& place() const noexcept { return place_; }

    /// The option's value, which is thereby known; nothing if it was not given.
    [[nodiscard]] std::optional<std::string> take(const std::string& option);
    [[nodiscard]] std::optional<std::uint64_t> take_bytes(const std::string& option); ///< as parse_bytes()
    [[nodiscard]] std::optional<std::uint64_t> take_count(const std::string& option); ///< a plain number
    [[nodiscard]] std::optional<std::chrono::nanoseconds> take_duration(const std::string& option); ///< 10us, 5ms, 2s

    /// Throws if an option is left that nobody took, naming it and those that were asked for.
    void expect_all_taken() const;
    /// Throws with `what` about the place, which was `place()`.
    [[noreturn]] void reject_place(std::string_view what) const;

private:
    std::string text_;
    std::string type_;
    std::string place_;
    std::map<std::string, std::string> options_;
    std::string known_; // the options asked for, for the error message
};

/// "4096", "64KiB", "1.5GiB", "20GB": a number with a unit of 1000 (kB, MB, GB, TB) or 1024 (KiB, MiB, GiB, TiB; also
/// K, M, G, T), case ignored. Throws std::invalid_argument for anything else, and for what is not a whole number of
/// bytes.
[[nodiscard]] std::uint64_t parse_bytes(std::string_view text);

/// The largest unit of 1024 that keeps the number readable: "64 KiB", "1.5 GiB".
[[nodiscard]] std::string format_bytes(std::uint64_t bytes);

} // namespace terrace
