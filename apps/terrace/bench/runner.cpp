#include "bench/runner.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <stdexcept>

#include "bench/measure.hpp"

namespace terrace::bench {
namespace {

/// What the runs have said about one row so far.
struct record {
    std::vector<double> values;
    std::vector<double> ceilings;
    std::vector<double> ratios;
    std::vector<double> cpu;
    std::vector<double> samples;
};

void add(record& to, const row& row, reading said, double ceiling)
{
    to.values.push_back(said.value);
    if (!std::isnan(said.cpu))
        to.cpu.push_back(said.cpu);
    to.samples.insert(to.samples.end(), said.samples.begin(), said.samples.end());
    if (std::isnan(ceiling))
        return;
    to.ceilings.push_back(ceiling);
    to.ratios.push_back(row.better == better::higher ? said.value / ceiling : ceiling / said.value);
}

std::vector<std::pair<double, double>> distribution_of(std::vector<double> samples)
{
    constexpr std::array shares{0.001, 0.01, 0.05, 0.1,  0.2,  0.3,  0.4,   0.5,   0.6,
                                0.7,   0.8,  0.9,  0.95, 0.98, 0.99, 0.995, 0.999, 1.0};
    std::vector<std::pair<double, double>> distribution;
    if (!samples.empty())
        for (const auto share : shares)
            distribution.emplace_back(share, percentile_of(samples, share));
    return distribution;
}

void fill_in(row& row, record& from)
{
    row.runs = from.values.size();
    row.value = spread::of(from.values);
    if (!from.ceilings.empty()) {
        row.ceiling = spread::of(from.ceilings);
        row.ratio = spread::of(from.ratios).median;
    }
    if (!from.cpu.empty())
        row.cpu = spread::of(from.cpu).median;
    row.peak_rss_bytes = peak_resident_bytes();
    row.distribution = distribution_of(std::move(from.samples));
}

/// One run, and its ceiling right after it.
std::pair<std::vector<reading>, std::vector<double>> run_once(const workload& subject, const run_hooks& hooks)
{
    if (hooks.before_run)
        hooks.before_run();
    if (subject.prepare)
        subject.prepare();
    auto readings = subject.run();
    auto ceilings = subject.ceiling ? subject.ceiling() : std::vector<double>(subject.rows.size(), reading::none);
    if (readings.size() != subject.rows.size() || ceilings.size() != subject.rows.size())
        throw std::logic_error(fmt::format("{}: {} readings and {} ceilings for {} rows", subject.rows.front().workload,
                                           readings.size(), ceilings.size(), subject.rows.size()));
    return {std::move(readings), std::move(ceilings)};
}

} // namespace

std::vector<row> measure(workload subject, std::size_t runs, const run_hooks& hooks)
{
    (void)run_once(subject, hooks); // caches, allocators and branch predictors learn what is coming
    std::vector<record> records(subject.rows.size());
    for (std::size_t n = 0; n < runs; ++n) {
        auto [readings, ceilings] = run_once(subject, hooks);
        for (std::size_t i = 0; i < records.size(); ++i)
            add(records[i], subject.rows[i], std::move(readings[i]), ceilings[i]);
    }
    for (std::size_t i = 0; i < records.size(); ++i)
        fill_in(subject.rows[i], records[i]);
    return std::move(subject.rows);
}

std::vector<row> measure_all(const std::vector<workload_maker>& makers, std::size_t runs, const run_hooks& hooks)
{
    std::vector<row> all;
    for (const auto& make : makers) {
        forget_peak();
        const auto rows = measure(make(), runs, hooks);
        if (hooks.on_rows)
            hooks.on_rows(rows);
        all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
}

} // namespace terrace::bench
