#include "../../adapters/io/src/in_flight_budget.hpp"
#include "support/units.hpp"

#include <algorithm>
#include <doctest/doctest.h>

using terrace::io::in_flight_budget;
using terrace::test::mib;

namespace {

/// A disk that moves so much a second when so much is in flight.
struct disk {
    double fastest;     // bytes per second
    std::uint64_t knee; // bytes in flight, from which on it is that fast

    void serve(in_flight_budget& budget, int completions)
    {
        for (int i = 0; i < completions; ++i) {
            const double rate =
                fastest * std::min(1.0, static_cast<double>(budget.bytes()) / static_cast<double>(knee));
            now += std::chrono::nanoseconds{static_cast<std::int64_t>(static_cast<double>(mib) / rate * 1e9)};
            budget.moved(mib, true, now);
        }
    }
    in_flight_budget::time_point now{};
};

} // namespace

TEST_CASE("in_flight_budget: a fixed one stays")
{
    in_flight_budget budget{10 * mib};
    disk{4e9, 512 * mib}.serve(budget, 100'000);
    CHECK(budget.bytes() == 10 * mib);
}

TEST_CASE("in_flight_budget: it grows to what a deep disk needs, and not past it")
{
    in_flight_budget budget{0};
    disk{20e9, 512 * mib}.serve(budget, 200'000);
    CHECK(budget.bytes() >= 512 * mib);
    CHECK(budget.bytes() <= 1024 * mib);
}

TEST_CASE("in_flight_budget: it shrinks to what a shallow disk needs")
{
    in_flight_budget budget{0};
    disk{2e9, 8 * mib}.serve(budget, 200'000);
    CHECK(budget.bytes() >= 8 * mib);
    CHECK(budget.bytes() <= 16 * mib);
}

TEST_CASE("in_flight_budget: it stays within its bounds")
{
    in_flight_budget small{0};
    disk{2e9, 1}.serve(small, 500'000);
    CHECK(small.bytes() >= in_flight_budget::min_bytes);
    CHECK(small.bytes() <= 2 * in_flight_budget::min_bytes);
    in_flight_budget large{0};
    disk{40e9, 64 * 1024 * mib}.serve(large, 500'000);
    CHECK(large.bytes() >= in_flight_budget::max_bytes / 2);
    CHECK(large.bytes() <= in_flight_budget::max_bytes);
}

TEST_CASE("in_flight_budget: where it is not the limit, it learns nothing")
{
    in_flight_budget budget{0};
    in_flight_budget::time_point now{};
    for (int i = 0; i < 100'000; ++i)
        budget.moved(mib, i % 50 != 0, now += std::chrono::microseconds{i % 7 * 100});
    CHECK(budget.bytes() == in_flight_budget::first_bytes);
}
