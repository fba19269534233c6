#include "support/world.hpp"

using namespace terrace;
using namespace std::chrono_literals;

TEST_CASE("clock: alarms ring in order of time, each at its own")
{
    manual_clock time;
    const auto start = time.now();
    std::vector<std::pair<int, nanoseconds>> rung;
    clock::alarm first{time, [&] { rung.emplace_back(1, time.now() - start); }};
    clock::alarm second{time, [&] { rung.emplace_back(2, time.now() - start); }};
    second.set(start + 20ms);
    first.set(start + 10ms);
    time.advance(15ms);
    CHECK(rung == std::vector<std::pair<int, nanoseconds>>{{1, 10ms}});
    SUBCASE("set again, an alarm rings at the new time only")
    {
        second.set(start + 30ms);
        time.advance(10ms);
        CHECK(rung.size() == 1);
        time.advance(5ms);
        CHECK(rung.back() == std::pair<int, nanoseconds>{2, 30ms});
    }
    SUBCASE("cancelled, it does not ring")
    {
        second.cancel();
        time.advance(1h);
        CHECK(rung.size() == 1);
    }
    SUBCASE("an alarm may set itself again while it rings")
    {
        int beats = 0;
        clock::alarm metronome{time, [&] {
                                   if (++beats < 3)
                                       metronome.set(time.now() + 1ms);
                               }};
        metronome.set(time.now() + 1ms);
        time.advance(10ms);
        CHECK(beats == 3);
    }
}

TEST_CASE("clock: sleeping ends at its time, or when it is cancelled")
{
    test::world w;
    auto sleeper = w.start(w.time->sleep_for(10ms));
    w.pass(9ms);
    CHECK_FALSE(sleeper.done());
    SUBCASE("at its time")
    {
        w.pass(1ms);
        CHECK(sleeper.take());
    }
    SUBCASE("cancelled")
    {
        sleeper.cancel();
        w.settle();
        CHECK(sleeper.was_aborted());
    }
    auto none = w.start(w.time->sleep_until(w.time->now()));
    CHECK(none.take());
}

TEST_CASE("clock: the machine's rings alarms too, and does not keep an executor that has nothing to wait for")
{
    asio::io_context io{1};
    auto time = make_system_clock(io.get_executor());
    bool rung = false;
    clock::alarm soon{*time, [&] { rung = true; }};
    clock::alarm never{*time, [] { FAIL("cancelled"); }};
    never.set(time->now() + 1h);
    soon.set(time->now() + 1ms);
    never.cancel();
    while (!rung)
        io.run_one();
    time->rest();
    CHECK(io.run() == 0); // else it would take an hour
}
