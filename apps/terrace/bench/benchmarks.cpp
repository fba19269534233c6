#include "bench/workload.hpp"

namespace terrace::bench {
namespace {

/// The way of a request, then that of the bytes.
std::vector<workload_maker> prefetch_and_load(const bench_options& options)
{
    auto makers = prefetch_workloads(options);
    for (auto& maker : load_workloads(options))
        makers.push_back(std::move(maker));
    return makers;
}

} // namespace

std::vector<benchmark> benchmarks()
{
    return {
        {"l1", "the memory tier alone: batches of keys written and read, by one thread and by two", &l1_workloads},
        {"prefetch", "prefetches: latency from the executor and from other threads, 64 at a time, and large objects",
         &prefetch_and_load},
        {"store", "from a commit until the objects are visible in the adapter", &store_workloads},
        {"adapter", "the adapters alone, beside the same reads and writes without them", &adapter_workloads},
        {"replay", "a trace of requests, back to back, over the memory adapter", &replay_workloads},
        {"scale", "what a key costs beside ten thousand to ten million resident objects", &scale_workloads},
        {"slow-tier", "what a second adapter that is slow or broken costs the requests of the first",
         &slow_tier_workloads},
    };
}

} // namespace terrace::bench
