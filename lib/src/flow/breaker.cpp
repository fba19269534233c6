#include "flow/breaker.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>

namespace terrace {

void check(const breaker_options& options)
{
    constexpr std::chrono::milliseconds day = std::chrono::hours{24}; // so that no time point overflows
    if (options.failures == 0)
        throw std::invalid_argument("breaker: failures is 0; expected at least 1");
    if (options.cool_down.count() <= 0 || options.cool_down > day)
        throw std::invalid_argument(
            fmt::format("breaker: cool_down is {} ms; expected 1 to {}", options.cool_down.count(), day.count()));
    if (options.max_cool_down < options.cool_down || options.max_cool_down > day)
        throw std::invalid_argument(fmt::format("breaker: max_cool_down is {} ms; expected {}, the cool_down, to {}",
                                                options.max_cool_down.count(), options.cool_down.count(), day.count()));
}

breaker::permit::~permit()
{
    if (of_ != nullptr)
        of_->abandoned(epoch_);
    if (hangs_in_ != nullptr)
        --hangs_in_->hanging_;
}

breaker_change breaker::permit::succeeded() noexcept
{
    breaker* of = std::exchange(of_, nullptr);
    return of != nullptr ? of->succeeded(epoch_) : breaker_change::none;
}

breaker_change breaker::permit::failed(time_point now) noexcept
{
    breaker* of = std::exchange(of_, nullptr);
    return of != nullptr ? of->failed(epoch_, now) : breaker_change::none;
}

breaker_change breaker::permit::timed_out(time_point now) noexcept
{
    if (of_ == nullptr)
        return breaker_change::none;
    hangs_in_ = of_;
    ++hangs_in_->hanging_;
    return failed(now);
}

bool breaker::permits(time_point now) const noexcept
{
    return state_ == state::closed || (state_ == state::open && now >= retry_at());
}

std::optional<breaker::permit> breaker::try_begin(time_point now) noexcept
{
    if (!permits(now))
        return std::nullopt;
    if (state_ == state::open)
        enter(state::half_open);
    return permit{*this, epoch_};
}

breaker_change breaker::succeeded(std::uint64_t epoch) noexcept
{
    if (epoch != epoch_)
        return breaker_change::none;
    failures_ = 0;
    if (state_ == state::half_open) {
        enter(state::closed);
        return breaker_change::closed;
    }
    health_ = adapter_health::healthy;
    return breaker_change::none;
}

breaker_change breaker::failed(std::uint64_t epoch, time_point now) noexcept
{
    const bool hangs = state_ == state::closed && too_many_hang();
    if (epoch != epoch_ && !hangs)
        return breaker_change::none;
    if (state_ == state::half_open || ++failures_ == options_.failures || hangs) {
        const bool probe = state_ == state::half_open;
        trip(now);
        return probe ? breaker_change::reopened : breaker_change::opened;
    }
    health_ = adapter_health::degraded;
    return breaker_change::none;
}

void breaker::abandoned(std::uint64_t epoch) noexcept
{
    if (epoch == epoch_ && state_ == state::half_open)
        enter(state::open); // whose cool-down is over
}

void breaker::trip(time_point now) noexcept
{
    cool_down_ = state_ == state::half_open ? std::min<nanoseconds>(2 * cool_down_, options_.max_cool_down)
                                            : nanoseconds{options_.cool_down};
    retry_at_ = now + cool_down_;
    ++trips_;
    enter(state::open);
}

void breaker::enter(state next) noexcept
{
    state_ = next;
    ++epoch_;
    switch (next) {
    case state::closed:
        health_ = adapter_health::healthy;
        break;
    case state::open:
        health_ = adapter_health::failed;
        break;
    case state::half_open:
        health_ = adapter_health::degraded;
        break;
    }
}

} // namespace terrace
