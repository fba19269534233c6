#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/workload.hpp"

namespace terrace::bench {

/// What whoever runs benchmarks wants to hear and to decide. Either may be empty.
struct run_hooks {
    std::function<void(const std::vector<row>&)> on_rows = {}; ///< each workload's, when they are there
    std::function<void()> before_run = {};                     ///< what it throws ends the measurement
};

/// Runs a workload once to warm up and then `runs` times, each run followed by its ceiling, so that both see the same
/// weather. Answers the workload's rows with their figures.
[[nodiscard]] std::vector<row> measure(workload subject, std::size_t runs, const run_hooks& hooks = {});

/// Workloads, one after the other.
[[nodiscard]] std::vector<row> measure_all(const std::vector<workload_maker>& makers, std::size_t runs,
                                           const run_hooks& hooks = {});

} // namespace terrace::bench
