#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/row.hpp"

namespace terrace::bench {

/// How thorough a benchmark is, and where it may leave its files.
struct bench_options {
    bool quick = false;                     ///< a smoke test: small, short, and its figures mean nothing
    std::size_t runs = 5;                   ///< after the warm-up; >= 1
    std::filesystem::path directory;        ///< for files on a disk; exists
    std::filesystem::path tmpfs;            ///< for files in memory; empty: there is no such place
    std::filesystem::path trace;            ///< to replay; empty: one is generated
    std::optional<std::uint64_t> most = {}; ///< resident objects of the scale rows; none: as memory allows, 10^7

    /// How much of something a run takes: `full`, or `small` of it in a smoke test.
    template <class T>
    [[nodiscard]] T amount(T full, T small) const
    {
        return quick ? small : full;
    }
};

/// Something that can be run again and again, with what bounds it.
///
/// The state is the callables', which share it; it goes when the workload does.
struct workload {
    std::vector<row> rows = {};                        ///< what it measures
    std::function<void()> prepare = {};                ///< before each run, not timed; may be empty
    std::function<std::vector<reading>()> run = {};    ///< one reading for each row
    std::function<std::vector<double>()> ceiling = {}; ///< one value for each row, or reading::none; may be empty
};

/// Made when its turn comes, so that only one workload has its memory at a time.
using workload_maker = std::function<workload()>;

/// The benchmarks, in the order in which `all` runs them.
struct benchmark {
    std::string_view name;
    std::string_view help;
    std::vector<workload_maker> (*make)(const bench_options& options);
};
[[nodiscard]] std::vector<benchmark> benchmarks();

[[nodiscard]] std::vector<workload_maker> l1_workloads(const bench_options& options);
[[nodiscard]] std::vector<workload_maker> prefetch_workloads(const bench_options& options);
[[nodiscard]] std::vector<workload_maker> load_workloads(const bench_options& options);
[[nodiscard]] std::vector<workload_maker> store_workloads(const bench_options& options);
[[nodiscard]] std::vector<workload_maker> adapter_workloads(const bench_options& options);
[[nodiscard]] std::vector<workload_maker> replay_workloads(const bench_options& options);
[[nodiscard]] std::vector<workload_maker> scale_workloads(const bench_options& options);
[[nodiscard]] std::vector<workload_maker> slow_tier_workloads(const bench_options& options);

} // namespace terrace::bench
