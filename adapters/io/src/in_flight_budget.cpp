#include "in_flight_budget.hpp"

#include <algorithm>

namespace terrace::io {

namespace {

/// A period is long enough to tell rates apart.
constexpr std::chrono::milliseconds min_period{20};
constexpr std::uint64_t budgets_per_period = 4;

} // namespace

void in_flight_budget::moved(std::uint64_t bytes, bool limited, time_point now) noexcept
{
    if (fixed_)
        return;
    if (!limited) {
        in_period_ = false; // what was asked for is the limit now, and says nothing of ours
        return;
    }
    if (!in_period_) {
        in_period_ = true;
        began_ = now;
        moved_ = 0;
        return;
    }
    moved_ += bytes;
    const auto took = now - began_;
    if (moved_ < budgets_per_period * bytes_ || took < min_period)
        return;
    end_period(static_cast<double>(moved_) / std::chrono::duration<double>(took).count());
    began_ = now;
    moved_ = 0;
}

void in_flight_budget::end_period(double rate) noexcept
{
    if (settling_) {
        settling_ = false;
        return;
    }
    const trial tried = trial_;
    trial_ = trial::none;
    switch (tried) {
    case trial::none:
        rate_ = held_ == 0 ? rate : (rate_ * 3 + rate) / 4;
        if (++held_ < hold_periods)
            return;
        held_ = 0;
        try_now(next_trial_);
        next_trial_ = next_trial_ == trial::more ? trial::less : trial::more;
        return;
    case trial::more:
    case trial::less:
        if (rate > rate_ * (tried == trial::more ? better : as_good)) {
            rate_ = rate;
            try_now(tried); // as long as it helps
            return;
        }
        bytes_ = tried == trial::more ? bytes_ / 2 : bytes_ * 2;
        settling_ = true;
        return;
    }
}

void in_flight_budget::try_now(trial what) noexcept
{
    const std::uint64_t wanted = std::clamp(what == trial::more ? bytes_ * 2 : bytes_ / 2, min_bytes, max_bytes);
    if (wanted == bytes_)
        return;
    bytes_ = wanted;
    trial_ = what;
    settling_ = true;
}

} // namespace terrace::io
