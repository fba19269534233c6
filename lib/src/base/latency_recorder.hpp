#pragma once

#include "base/counter.hpp"

#include <algorithm>
#include <array>

#include <terrace/clock.hpp>
#include <terrace/status.hpp>

namespace terrace {

/// Counts how long things take. Any thread.
class latency_recorder {
public:
    void record(nanoseconds took) noexcept
    {
        const auto& bounds = latency_histogram::bounds;
        ++counts_[static_cast<std::size_t>(std::ranges::lower_bound(bounds, took) - bounds.begin())];
        sum_ns_ += static_cast<std::uint64_t>(std::max<nanoseconds::rep>(took.count(), 0));
    }

    [[nodiscard]] latency_histogram snapshot() const noexcept
    {
        latency_histogram h;
        std::ranges::copy(counts_, h.counts.begin());
        h.sum_ns = sum_ns_;
        return h;
    }

private:
    std::array<counter, latency_histogram::bounds.size() + 1> counts_;
    counter sum_ns_;
};

} // namespace terrace
