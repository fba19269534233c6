#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/report.hpp"
#include "bench/runner.hpp"

namespace {

using namespace terrace::bench;

/// A workload of one row whose runs give these values, in turn, and so its ceilings. The first of each is the
/// warm-up's.
workload scripted(better which, std::vector<double> values, std::vector<double> ceilings)
{
    workload w;
    w.rows.push_back({.workload = "some",
                      .name = "thing",
                      .parameters = {{"N", "16"}, {"from", "here"}},
                      .unit = "us",
                      .better = which,
                      .ceiling_name = "memcpy",
                      .cpu_unit = "us/request"});
    auto next = std::make_shared<std::size_t>(0);
    w.run = [next, values] { return std::vector{reading{.value = values.at(*next), .cpu = 2, .samples = {1, 2, 3}}}; };
    w.ceiling = [next, ceilings] { return std::vector{ceilings.at((*next)++)}; };
    return w;
}

row measured(std::vector<target> targets = {})
{
    auto w = scripted(better::lower, {9, 4, 2, 8}, {9, 1, 1, 1});
    w.rows.front().targets = std::move(targets);
    return measure(std::move(w), 3).front();
}

} // namespace

TEST_CASE("bench: a row has the smallest, the middle and the largest of its runs, without the warm-up")
{
    const auto row = measured();
    CHECK(row.runs == 3);
    CHECK(row.value.min == 2);
    CHECK(row.value.median == 4);
    CHECK(row.value.max == 8);
    CHECK(row.cpu == 2);
    CHECK(row.peak_rss_bytes > 0);
}

TEST_CASE("bench: the ratio is the median of the runs, each with its own ceiling, and 1 is as good as the ceiling")
{
    SUBCASE("where less is better")
    {
        const auto rows = measure(scripted(better::lower, {1, 10, 40, 20}, {1, 5, 10, 20}), 3);
        CHECK(rows.front().ratio == doctest::Approx(0.5)); // of 0.5, 0.25 and 1
        CHECK(rows.front().ceiling->median == 10);
    }
    SUBCASE("where more is better")
    {
        const auto rows = measure(scripted(better::higher, {1, 5, 10, 20}, {1, 10, 40, 20}), 3);
        CHECK(rows.front().ratio == doctest::Approx(0.5));
    }
}

TEST_CASE("bench: each run is prepared, and its ceiling is measured before the next")
{
    std::string order;
    workload w;
    w.rows.resize(1);
    w.prepare = [&] { order += "p"; };
    w.run = [&] { return order += "r", std::vector{reading{.value = 1}}; };
    w.ceiling = [&] { return order += "c ", std::vector{1.0}; };
    (void)measure(std::move(w), 2);
    CHECK(order == "prc prc prc ");
}

TEST_CASE("bench: a hook is asked before each run, and what it throws ends the measurement")
{
    int runs = 0;
    workload w;
    w.rows.resize(1);
    w.run = [&] { return ++runs, std::vector{reading{.value = 1}}; };
    run_hooks hooks;
    hooks.before_run = [&] {
        if (runs == 2)
            throw std::runtime_error("enough");
    };
    CHECK_THROWS_WITH((void)measure(std::move(w), 5, hooks), "enough");
    CHECK(runs == 2);
}

TEST_CASE("bench: samples of all runs make up one distribution")
{
    const auto row = measured();
    REQUIRE(!row.distribution.empty());
    CHECK(row.distribution.front().second == 1);
    CHECK(row.distribution.back() == std::pair{1.0, 3.0});
}

TEST_CASE("bench: a target is met or not by the median")
{
    CHECK(measured({target::at_most(4)}).targets_met());
    CHECK(!measured({target::at_most(3.9)}).targets_met());
    CHECK(measured({target::at_least(4)}).targets_met());
    CHECK(!measured({target::at_least(4.1)}).targets_met());
    CHECK(measured({target::ratio_of_at_least(0.25)}).targets_met());
    CHECK(!measured({target::ratio_of_at_least(0.26)}).targets_met());
    CHECK(measured({target::above_ceiling_at_most(3)}).targets_met());
    CHECK(!measured({target::above_ceiling_at_most(2.9)}).targets_met());
    CHECK(!measured({target::at_most(5), target::at_least(5)}).targets_met()); // both have to be
    CHECK(measured({target::at_most(5), target::at_least(1)}).targets_text() == "<= 5.00 us and >= 1.00 us");
}

TEST_CASE("bench: the table shows value, ceiling, ratio and target, and its columns line up")
{
    std::vector<row> rows{measured({target::at_most(3)}), measured()};
    rows[1].name = "another, longer thing";
    const auto table = to_table(rows);
    CHECK(table.find("N 16, from here") != std::string::npos);
    CHECK(table.find("1.00 (memcpy)") != std::string::npos);
    CHECK(table.find("<= 3.00 us: MISSED") != std::string::npos);
    const auto first = table.find("N 16") - table.rfind('\n', table.find("N 16"));
    const auto second = table.rfind("N 16") - table.rfind('\n', table.rfind("N 16"));
    CHECK(first == second);
}

TEST_CASE("bench: JSON has every key that the documentation names")
{
    const auto json = to_json({{"cpu", "a fast one"}}, std::vector{measured({target::at_most(3)})});
    CHECK(json.at("machine").at("cpu") == "a fast one");
    const auto& row = json.at("rows").at(0);
    CHECK(row.at("workload") == "some");
    CHECK(row.at("name") == "thing");
    CHECK(row.at("params").at("N") == "16");
    CHECK(row.at("unit") == "us");
    CHECK(row.at("better") == "lower");
    CHECK(row.at("runs") == 3);
    CHECK(row.at("median") == 4);
    CHECK(row.at("ceiling").at("name") == "memcpy");
    CHECK(row.at("ceiling").at("median") == 1);
    CHECK(row.at("ratio") == 0.25);
    CHECK(row.at("cpu").at("unit") == "us/request");
    CHECK(row.at("peak_rss_bytes") > 0);
    CHECK(row.at("target").at("met") == false);
    CHECK(row.at("distribution").size() > 5);
}

TEST_CASE("bench: the page holds its plots, its rows and nothing from elsewhere")
{
    auto latency = measured();
    latency.workload = "prefetch";
    latency.name = "hit p50";
    latency.parameters = {{"N", "64"}, {"from", "executor"}};
    auto odd = measured();
    odd.name = "<script>";
    const auto page = to_html({{"cpu", "fast & cheap"}}, std::vector{latency, odd});
    CHECK(page.find("<svg") != std::string::npos);
    CHECK(page.find("prefers-color-scheme: dark") != std::string::npos);
    CHECK(page.find("fast &amp; cheap") != std::string::npos);
    CHECK(page.find("&lt;script&gt;") != std::string::npos);
    CHECK(page.find("<script") == std::string::npos);
    CHECK(page.find("http") == std::string::npos);
}

TEST_CASE("bench: numbers have the digits that help")
{
    CHECK(number_text(0.01234) == "0.0123");
    CHECK(number_text(1.234) == "1.23");
    CHECK(number_text(45.67) == "45.7");
    CHECK(number_text(789.4) == "789");
    CHECK(number_text(12'345) == "12,345");
    CHECK(number_text(reading::none) == "-");
}
