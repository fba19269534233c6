// G: what a second, slow or broken adapter costs the requests that the first one can serve.

#include <fmt/format.h>
#include <memory>
#include <string>

#include <terrace/adapter_registry.hpp>
#include <terrace/memory_adapter.hpp>

#include "bench/measure.hpp"
#include "bench/prefetcher.hpp"
#include "bench/workload.hpp"

namespace terrace::bench {
namespace {

constexpr std::size_t object_bytes = 4096;
constexpr std::size_t per_request = 64;
constexpr std::size_t sets = 16;

/// An engine over a memory adapter that has all keys, and perhaps over a second adapter that has none.
struct tiers_state {
    explicit tiers_state(const std::string& second_spec)
    {
        auto first = std::make_unique<memory_adapter>();
        bed.store_directly(*first, keys, object_bytes);
        bed.engine().add_adapter(std::move(first));
        if (!second_spec.empty())
            bed.engine().add_adapter(make_adapter(second_spec));
    }

    /// Microseconds of so many requests.
    std::vector<double> prefetch(std::size_t requests)
    {
        queue.refill(requests);
        std::vector<double> waits;
        waits.reserve(requests);
        bed.run(prefetch_on_executor(bed.engine(), queue, {per_request}, waits));
        return waits;
    }

    std::vector<object_key> keys = fresh_keys(sets * per_request);
    request_queue queue{keys, per_request, memory_layout::bytes(object_bytes)};
    engine_bed bed{quiet_config(std::uint64_t{64} << 20, object_bytes)};
};

workload make_slow_tier(const bench_options& options, const std::string& second, const std::string& spec)
{
    const auto requests = options.amount<std::size_t>(2'000, 20);
    auto alone = std::make_shared<tiers_state>("");
    auto both = std::make_shared<tiers_state>(spec);
    row p50{.workload = "slow-tier",
            .name = "hit p50",
            .parameters = {{"N", fmt::to_string(per_request)}, {"second adapter", second}},
            .unit = "us",
            .ceiling_name = "the first alone",
            .cpu_unit = "us/request",
            .targets = {target::ratio_of_at_least(1 / 1.2)}};
    row p99 = p50;
    p99.name = "hit p99";
    p99.cpu_unit.clear();
    p99.targets.clear();

    workload w;
    w.rows = {p50, p99};
    w.run = [=] {
        const stopwatch watch;
        auto waits = both->prefetch(requests);
        std::vector<reading> readings(2);
        readings[0] = {.value = percentile_of(waits, 0.5), .cpu = watch.cpu() * 1e6 / static_cast<double>(requests)};
        readings[1] = {.value = percentile_of(waits, 0.99)};
        readings[0].samples = std::move(waits);
        return readings;
    };
    w.ceiling = [=] {
        auto waits = alone->prefetch(requests);
        return std::vector{percentile_of(waits, 0.5), percentile_of(waits, 0.99)};
    };
    return w;
}

} // namespace

std::vector<workload_maker> slow_tier_workloads(const bench_options& options)
{
    return {[=] { return make_slow_tier(options, "answers after 50 ms", "fault:memory:;lookup=delay:50ms"); },
            [=] { return make_slow_tier(options, "never answers", "fault:memory:;lookup=hang"); },
            [=] { return make_slow_tier(options, "fails", "fault:memory:;lookup=throw"); }};
}

} // namespace terrace::bench
