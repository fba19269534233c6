#include "bench/workload.hpp"

namespace terrace::bench {

std::vector<benchmark> benchmarks()
{
    return {
        {"l1", "the memory tier alone: batches of keys written and read, by one thread and by two", &l1_workloads},
        {"prefetch", "prefetches from memory: latency from the executor and from other threads, and 64 at a time",
         &prefetch_workloads},
    };
}

} // namespace terrace::bench
