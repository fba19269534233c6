#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/workload.hpp"

namespace terrace::bench {

/// Runs a workload once to warm up and then `runs` times, each run followed by its ceiling, so that both see the same
/// weather. Answers the workload's rows with their figures.
[[nodiscard]] std::vector<row> measure(workload subject, std::size_t runs);

/// All workloads of a benchmark, one after the other.
///
/// on_rows  hears of each workload's rows when they are there; may be empty
[[nodiscard]] std::vector<row> measure_all(const std::vector<workload_maker>& makers, std::size_t runs,
                                           const std::function<void(const std::vector<row>&)>& on_rows);

} // namespace terrace::bench
