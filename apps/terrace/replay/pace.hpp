#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace terrace::replay {

/// When the requests of a trace start.
class pace {
public:
    /// As soon as a client is free, whatever the timestamps say.
    [[nodiscard]] static pace asap() { return pace{std::nullopt}; }
    /// At their timestamps, `factor` times as fast; > 0.
    [[nodiscard]] static pace times(double factor) { return pace{factor}; }
    /// "asap", "real" or a factor. Throws std::invalid_argument that names the text and these three.
    [[nodiscard]] static pace parse(std::string_view text);

    [[nodiscard]] bool is_asap() const noexcept { return !factor_; }
    [[nodiscard]] std::string to_string() const;

    /// How long after the start of the replay a request is due. What comes before the first one is due at once, and
    /// nothing later than in 50 years.
    [[nodiscard]] std::chrono::nanoseconds due(std::uint64_t timestamp_ms, std::uint64_t first_ms) const noexcept;

private:
    explicit pace(std::optional<double> factor) : factor_{factor} {}

    std::optional<double> factor_; // none: asap
};

} // namespace terrace::replay
