#include "bench/measure.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <malloc.h>
#include <string>
#include <string_view>
#include <sys/resource.h>

namespace terrace::bench {
namespace {

/// The number of KiB that follows "name:" in a file of /proc, in bytes; 0 if it is not there.
std::uint64_t kernel_says(const char* file, std::string_view name)
{
    std::ifstream in{file};
    for (std::string line; std::getline(in, line);)
        if (line.starts_with(name) && line.size() > name.size() && line[name.size()] == ':')
            return std::stoull(line.substr(name.size() + 1)) * 1024;
    return 0;
}

double seconds_of(const timeval& t)
{
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
}

} // namespace

double cpu_seconds()
{
    rusage self{};
    ::getrusage(RUSAGE_SELF, &self);
    return seconds_of(self.ru_utime) + seconds_of(self.ru_stime);
}

std::uint64_t resident_bytes()
{
    return kernel_says("/proc/self/status", "VmRSS");
}

std::uint64_t peak_resident_bytes()
{
    return kernel_says("/proc/self/status", "VmHWM");
}

void forget_peak()
{
    std::ofstream{"/proc/self/clear_refs"} << '5';
}

void keep_freed_memory()
{
    constexpr int largest_from_heap = 32 << 20; // that malloc allows
    ::mallopt(M_MMAP_THRESHOLD, largest_from_heap);
    ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

std::uint64_t available_bytes()
{
    return kernel_says("/proc/meminfo", "MemAvailable");
}

double percentile_of(std::vector<double>& samples, double share)
{
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(samples.size())));
    const auto at = samples.begin() + static_cast<std::ptrdiff_t>(std::clamp<std::size_t>(rank, 1, samples.size()) - 1);
    std::nth_element(samples.begin(), at, samples.end());
    return *at;
}

} // namespace terrace::bench
