#include <doctest/doctest.h>
#include <vector>

#include "replay/pace.hpp"
#include "replay/statistics.hpp"
#include "replay/text.hpp"

using namespace terrace::replay;
using namespace std::chrono_literals;

TEST_CASE("percentile: the nearest rank, so that it is a value that was measured")
{
    const std::vector<std::chrono::nanoseconds> ten{1ns, 2ns, 3ns, 4ns, 5ns, 6ns, 7ns, 8ns, 9ns, 10ns};
    CHECK(percentile(ten, 0.50) == 5ns);
    CHECK(percentile(ten, 0.51) == 6ns);
    CHECK(percentile(ten, 0.90) == 9ns);
    CHECK(percentile(ten, 0.99) == 10ns);
    CHECK(percentile(ten, 1) == 10ns);
    CHECK(percentile(std::vector{7ns}, 0.01) == 7ns);
    CHECK(percentile({}, 0.5) == 0ns);
}

TEST_CASE("time to first token: misses cost tokens by the rate, hits cost the wait")
{
    const prefill_model model{1'000}; // tokens/s: one each millisecond
    CHECK(model.without_cache(1'500).count() == doctest::Approx(1'500));
    CHECK(model.with_cache(1'500, 0, 2ms).count() == doctest::Approx(1'502));
    CHECK(model.with_cache(1'500, 2, 2ms).count() == doctest::Approx(1'500 - 1'024 + 2));

    SUBCASE("a hit on the last block, which is not full, saves only the tokens that are there")
    {
        CHECK(model.with_cache(1'500, 3, 2ms).count() == doctest::Approx(2));
    }
}

TEST_CASE("pace: asap is due at once, whatever the timestamp")
{
    const auto asap = pace::parse("asap");
    CHECK(asap.is_asap());
    CHECK(asap.due(5'000, 1'000) == 0ns);
}

TEST_CASE("pace: real and faster count from the first request's timestamp")
{
    CHECK(pace::parse("real").due(5'000, 1'000) == 4s);
    CHECK(pace::parse("2").due(5'000, 1'000) == 2s);
    CHECK(pace::parse("0.5").due(5'000, 1'000) == 8s);
    CHECK(pace::parse("real").due(1'000, 1'000) == 0ns);

    SUBCASE("a timestamp before the first one's is due at once")
    {
        CHECK(pace::parse("real").due(999, 1'000) == 0ns);
    }
    SUBCASE("no timestamp and no factor leads past the clock's range")
    {
        CHECK(pace::parse("1e-300").due(~std::uint64_t{0}, 0) == std::chrono::years{50});
    }
}

TEST_CASE("pace: anything else is refused with the value and what was expected")
{
    for (const char* text : {"", "fast", "0", "-1", "nan", "inf", "2x", "1e999"}) {
        CAPTURE(text);
        CHECK_THROWS_WITH_AS((void)pace::parse(text),
                             ("--pace \"" + std::string{text} + "\": expected asap, real or a factor > 0").c_str(),
                             std::invalid_argument);
    }
}

TEST_CASE("text: counts are whole numbers within their range")
{
    CHECK(parse_count("--n", "12") == 12);
    CHECK_THROWS_WITH_AS((void)parse_count("--n", "0"), "--n \"0\": expected a whole number >= 1",
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)parse_count("--n", "9", 1, 8), "--n \"9\": expected a whole number from 1 to 8",
                         std::invalid_argument);
    for (const char* text : {"", "-1", "+1", "1.0", "1k", " 1", "18446744073709551616"})
        CHECK_THROWS_AS((void)parse_count("--n", text), std::invalid_argument);
}

TEST_CASE("text: long numbers are grouped in threes")
{
    CHECK(grouped(0) == "0");
    CHECK(grouped(999) == "999");
    CHECK(grouped(1'000) == "1,000");
    CHECK(grouped(1'234'567) == "1,234,567");
}
