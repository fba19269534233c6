#include "replay/statistics.hpp"

#include <algorithm>
#include <cmath>

#include "replay/trace.hpp"

namespace terrace::replay {

std::chrono::nanoseconds percentile(std::span<const std::chrono::nanoseconds> sorted, double share) noexcept
{
    if (sorted.empty())
        return {};
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
    return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

prefill_model::milliseconds prefill_model::without_cache(std::uint64_t input_tokens) const noexcept
{
    return milliseconds{1e3 * static_cast<double>(input_tokens) / tokens_per_second_};
}

prefill_model::milliseconds prefill_model::with_cache(std::uint64_t input_tokens, std::uint64_t hit_blocks,
                                                      std::chrono::nanoseconds wait) const noexcept
{
    const auto hit_tokens = std::min(hit_blocks * block_tokens, input_tokens);
    return wait + without_cache(input_tokens - hit_tokens);
}

} // namespace terrace::replay
