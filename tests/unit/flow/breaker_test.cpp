#include "flow/breaker.hpp"

#include <doctest/doctest.h>
#include <stdexcept>
#include <utility>
#include <vector>

using namespace terrace;
using namespace std::chrono_literals;

namespace {

/// A breaker that opens at the third failure, for 1 s, 2 s, and then 4 s at most; and the time that it is told.
struct tried {
    static breaker_options options()
    {
        breaker_options o;
        o.failures = 3;
        o.cool_down = 1s;
        o.max_cool_down = 4s;
        return o;
    }

    /// A call that may be made, and is under way.
    breaker::permit begin()
    {
        auto permit = b.try_begin(now);
        REQUIRE(permit);
        return std::move(*permit);
    }
    [[nodiscard]] bool refuses() { return !b.permits(now) && !b.try_begin(now); }
    void fail(int calls = 1)
    {
        for (; calls > 0; --calls)
            begin().failed(now);
    }
    void succeed() { begin().succeeded(); }
    /// Opens it, and lets the cool-down pass.
    void trip()
    {
        fail(3);
        now += 1s;
    }

    breaker b{options()};
    breaker::time_point now{1h};
};

} // namespace

TEST_CASE("breaker: so many failures in a row open it")
{
    tried t;
    t.fail(2);
    CHECK(t.b.permits(t.now));
    CHECK(t.b.trips() == 0);
    SUBCASE("the last of them does")
    {
        t.fail();
        CHECK(t.refuses());
        CHECK(t.b.trips() == 1);
    }
    SUBCASE("a success between them starts the count anew")
    {
        t.succeed();
        t.fail(2);
        CHECK(t.b.permits(t.now));
        t.fail();
        CHECK(t.refuses());
    }
    SUBCASE("a call that is cancelled neither fails nor succeeds")
    {
        (void)t.begin();
        CHECK(t.b.permits(t.now));
        t.fail();
        CHECK(t.refuses());
    }
    SUBCASE("calls that run side by side count as they end")
    {
        std::vector<breaker::permit> calls;
        for (int i = 0; i < 3; ++i)
            calls.push_back(t.begin());
        calls[2].failed(t.now);
        CHECK(t.refuses());
    }
}

TEST_CASE("breaker: open, it permits no call until the cool-down is over")
{
    tried t;
    t.fail(3);
    t.now += 1s - 1ns;
    CHECK(t.refuses());
    t.now += 1ns;
    CHECK(t.b.permits(t.now));
}

TEST_CASE("breaker: the cool-down counts from the failure, not from the beginning of the call")
{
    tried t;
    t.fail(2);
    auto slow = t.begin();
    t.now += 10s;
    slow.failed(t.now);
    CHECK(t.refuses());
    t.now += 1s;
    CHECK_FALSE(t.refuses());
}

TEST_CASE("breaker: half-open, one call at a time probes the adapter")
{
    tried t;
    t.trip();
    auto probe = t.begin();
    CHECK(t.refuses());
    SUBCASE("it succeeds: closed, and the count and the cool-down start anew")
    {
        probe.succeeded();
        t.fail(2);
        CHECK_FALSE(t.refuses());
        t.fail();
        CHECK(t.refuses());
        t.now += 1s;
        CHECK_FALSE(t.refuses());
    }
    SUBCASE("it fails: open again, for twice as long, up to the maximum")
    {
        for (auto cool_down : {2s, 4s, 4s, 4s}) {
            probe.failed(t.now);
            t.now += cool_down - 1ns;
            CHECK(t.refuses());
            t.now += 1ns;
            probe = t.begin();
        }
        CHECK(t.b.trips() == 5);
    }
    SUBCASE("it is cancelled: the next call probes, at once")
    {
        probe = {};
        CHECK(t.b.permits(t.now));
        auto next = t.begin();
        CHECK(t.refuses());
        next.failed(t.now);
        t.now += 2s - 1ns;
        CHECK(t.refuses());
        CHECK(t.b.trips() == 2);
    }
    SUBCASE("it waits as long as it takes")
    {
        t.now += 24h;
        CHECK(t.refuses());
    }
}

TEST_CASE("breaker: what began before a trip says nothing after it")
{
    tried t;
    auto early = t.begin();
    auto other = t.begin();
    t.fail(3);
    SUBCASE("its success does not close the breaker")
    {
        early.succeeded();
        CHECK(t.refuses());
        CHECK(t.b.health() == adapter_health::failed);
    }
    SUBCASE("its failure does not lengthen the cool-down")
    {
        t.now += 500ms;
        early.failed(t.now);
        CHECK(t.b.trips() == 1);
        t.now += 500ms;
        CHECK_FALSE(t.refuses());
    }
    SUBCASE("neither end is taken for the probe's")
    {
        t.now += 1s;
        auto probe = t.begin();
        early.succeeded();
        other.failed(t.now);
        CHECK(t.refuses());
        CHECK(t.b.trips() == 1);
        probe.succeeded();
        CHECK(t.b.health() == adapter_health::healthy);
    }
    SUBCASE("nor does it count once the breaker is closed again")
    {
        t.now += 1s;
        t.succeed();
        t.fail(2);
        early.failed(t.now);
        CHECK_FALSE(t.refuses());
        other.succeeded();
        t.fail();
        CHECK(t.refuses());
    }
    SUBCASE("its being cancelled frees no probe's place")
    {
        t.now += 1s;
        auto probe = t.begin();
        early = {};
        CHECK(t.refuses());
    }
}

TEST_CASE("breaker: as many calls that hang as make a trip keep it open")
{
    tried t;
    std::vector<breaker::permit> hanging;
    const auto hang = [&] {
        hanging.push_back(t.begin());
        hanging.back().timed_out(t.now);
    };
    SUBCASE("until one of them ends")
    {
        for (int i = 0; i < 3; ++i)
            hang();
        CHECK(t.b.open());
        t.now += 1h;
        CHECK(t.refuses());
        CHECK(t.b.retry_at() > t.now + 1h);
        hanging.pop_back();
        CHECK(t.b.permits(t.now));
        t.succeed();
        CHECK(t.b.health() == adapter_health::healthy);
    }
    SUBCASE("whatever succeeds between them")
    {
        for (int i = 0; i < 3; ++i) {
            CHECK(t.b.permits(t.now));
            t.succeed();
            hang();
        }
        CHECK(t.b.open());
    }
    SUBCASE("those included that follow from a call that was permitted")
    {
        for (int i = 0; i < 3; ++i) {
            CHECK(t.b.permits(t.now));
            hanging.push_back(t.b.follow_up());
            hanging.back().timed_out(t.now);
        }
        CHECK(t.b.open());
        hanging.clear();
        t.now += 1s;
        CHECK(t.b.permits(t.now));
    }
    SUBCASE("fewer do not")
    {
        hang();
        hang();
        t.succeed();
        t.trip();
        CHECK(t.b.permits(t.now));
    }
}

TEST_CASE("breaker: the first report of a call counts, and no other")
{
    tried t;
    t.trip();
    auto probe = t.begin();
    SUBCASE("timed out, it ends after all")
    {
        probe.failed(t.now);
        probe.succeeded();
        CHECK(t.refuses());
    }
    SUBCASE("moved from, it has nothing left to report")
    {
        auto holder = std::move(probe);
        probe.failed(t.now); // NOLINT: what it does when moved from is the point
        CHECK(t.b.trips() == 1);
        holder.succeeded();
        CHECK_FALSE(t.refuses());
    }
    SUBCASE("an empty permit reports to nobody")
    {
        breaker::permit none;
        none.failed(t.now);
        none.succeeded();
        CHECK(t.b.trips() == 1);
    }
}

TEST_CASE("breaker: its state is the adapter's health")
{
    tried t;
    CHECK(t.b.health() == adapter_health::healthy);
    t.fail();
    CHECK(t.b.health() == adapter_health::degraded); // failures lately
    t.succeed();
    CHECK(t.b.health() == adapter_health::healthy);
    t.trip();
    CHECK(t.b.health() == adapter_health::failed);
    auto probe = t.begin();
    CHECK(t.b.health() == adapter_health::degraded); // half-open
    SUBCASE("cancelled")
    {
        probe = {};
    }
    SUBCASE("failed")
    {
        probe.failed(t.now);
    }
    SUBCASE("succeeded")
    {
        probe.succeeded();
        CHECK(t.b.health() == adapter_health::healthy);
        t.fail(3);
    }
    CHECK(t.b.health() == adapter_health::failed);
}

TEST_CASE("breaker: options that make no sense are refused, with the value")
{
    breaker_options o;
    CHECK_NOTHROW(check(o));
    SUBCASE("failures")
    {
        o.failures = 0;
        CHECK_THROWS_WITH_AS(check(o), "breaker: failures is 0; expected at least 1", std::invalid_argument);
    }
    SUBCASE("cool_down")
    {
        o.cool_down = 0ms;
        CHECK_THROWS_WITH_AS(check(o), "breaker: cool_down is 0 ms; expected 1 to 86400000", std::invalid_argument);
        o.cool_down = -5ms;
        CHECK_THROWS_AS(check(o), std::invalid_argument);
        o.cool_down = 24h + 1ms;
        o.max_cool_down = 48h;
        CHECK_THROWS_WITH_AS(check(o), "breaker: cool_down is 86400001 ms; expected 1 to 86400000",
                             std::invalid_argument);
    }
    SUBCASE("max_cool_down")
    {
        o.max_cool_down = 999ms;
        CHECK_THROWS_WITH_AS(check(o), "breaker: max_cool_down is 999 ms; expected 1000, the cool_down, to 86400000",
                             std::invalid_argument);
        o.max_cool_down = std::chrono::milliseconds::max();
        CHECK_THROWS_AS(check(o), std::invalid_argument);
        o.max_cool_down = o.cool_down; // no doubling
        CHECK_NOTHROW(check(o));
        o.cool_down = o.max_cool_down = 24h;
        CHECK_NOTHROW(check(o));
    }
}
