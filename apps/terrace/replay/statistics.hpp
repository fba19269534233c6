#pragma once

#include <chrono>
#include <cstdint>
#include <span>

namespace terrace::replay {

/// The smallest value that at least `share` of all values do not exceed (the nearest rank); zero if there are none.
///
/// sorted  ascending
/// share   in (0, 1]; 1 is the maximum
[[nodiscard]] std::chrono::nanoseconds percentile(std::span<const std::chrono::nanoseconds> sorted,
                                                  double share) noexcept;

/// What a request's first token costs: tokens that are computed take tokens / rate, those that are found take the wait
/// for them.
class prefill_model {
public:
    using milliseconds = std::chrono::duration<double, std::milli>;

    /// tokens_per_second  of prefill; > 0
    explicit prefill_model(double tokens_per_second) noexcept : tokens_per_second_{tokens_per_second} {}

    [[nodiscard]] double tokens_per_second() const noexcept { return tokens_per_second_; }

    [[nodiscard]] milliseconds without_cache(std::uint64_t input_tokens) const noexcept;
    /// hit_blocks  leading blocks that were found, of which the last may hold fewer tokens than a block has
    [[nodiscard]] milliseconds with_cache(std::uint64_t input_tokens, std::uint64_t hit_blocks,
                                          std::chrono::nanoseconds wait) const noexcept;

private:
    double tokens_per_second_;
};

} // namespace terrace::replay
