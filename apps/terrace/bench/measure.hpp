#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace terrace::bench {

using steady = std::chrono::steady_clock;

/// What the process has used of the processors, in user and system mode, all its threads together.
[[nodiscard]] double cpu_seconds();

/// Time on the wall and on the processors since it was made.
class stopwatch {
public:
    [[nodiscard]] double seconds() const { return std::chrono::duration<double>(steady::now() - started_).count(); }
    [[nodiscard]] double cpu() const { return cpu_seconds() - cpu_; }

private:
    double cpu_ = cpu_seconds();
    steady::time_point started_ = steady::now();
};

/// Memory of the process that is backed by pages now; 0 if the kernel does not tell.
[[nodiscard]] std::uint64_t resident_bytes();
/// The most it has been since forget_peak(), or since the start where the kernel cannot forget.
[[nodiscard]] std::uint64_t peak_resident_bytes();
void forget_peak();

/// Has the allocator keep what is freed, so that memory that is asked for again and again has its pages: what a copy
/// into it costs does not depend on who freed last.
void keep_freed_memory();

/// What could still be taken without swapping.
[[nodiscard]] std::uint64_t available_bytes();

/// The share of the samples that is no longer than the result, by the nearest rank. Sorts part of them.
[[nodiscard]] double percentile_of(std::vector<double>& samples, double share);

} // namespace terrace::bench
