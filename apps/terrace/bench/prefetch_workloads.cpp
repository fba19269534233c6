// B: what a prefetch costs when nothing but memory is behind it: the control path.

#include <array>
#include <fmt/format.h>
#include <memory>
#include <span>
#include <string_view>

#include <terrace/memory_adapter.hpp>

#include "bench/measure.hpp"
#include "bench/prefetcher.hpp"
#include "bench/workload.hpp"

namespace terrace::bench {
namespace {

constexpr std::size_t object_bytes = 4096;
constexpr std::size_t sets = 16; // that the requests go round in

enum class where : std::uint8_t { l1, l2, nowhere };

/// An engine over a memory adapter, one of which has all keys, or neither.
struct prefetch_state {
    prefetch_state(std::size_t keys_per_request, where at, loop how)
        : keys{fresh_keys(sets * keys_per_request)},
          queue{keys, keys_per_request, memory_layout::bytes(object_bytes)},
          hits{at == where::nowhere ? 0 : keys_per_request, at == where::l1},
          copies{sets * keys_per_request, keys_per_request, object_bytes},
          bed{quiet_config(std::uint64_t{128} << 20, object_bytes), how}
    {
        auto adapter = std::make_unique<memory_adapter>();
        if (at == where::l2)
            bed.store_directly(*adapter, keys, object_bytes);
        if (at == where::l1)
            bed.engine().reserve_write(keys, memory_layout::bytes(object_bytes)).commit();
        bed.engine().add_adapter(std::move(adapter));
    }

    std::vector<object_key> keys;
    request_queue queue;
    expected_hits hits;
    copy_ceiling copies;
    engine_bed bed;
};

/// The microseconds that the copies of one request take.
std::vector<double> copy_times(prefetch_state& state, std::size_t requests)
{
    std::vector<double> times;
    for (std::size_t i = 0; i < requests; ++i)
        times.push_back(state.copies.copy(state.hits.keys) * 1e6);
    return times;
}

row latency_row(std::string_view what, std::size_t n, std::string_view from, std::string_view ceiling)
{
    return {.workload = "prefetch",
            .name = std::string{what},
            .parameters = {{"N", fmt::to_string(n)}, {"from", std::string{from}}},
            .unit = "us",
            .ceiling_name = std::string{ceiling}};
}

/// p50 and p99 of the samples, which go with the first.
std::vector<reading> percentiles(std::vector<double> samples, double cpu)
{
    const auto p50 = percentile_of(samples, 0.5);
    const auto p99 = percentile_of(samples, 0.99);
    std::vector<reading> both(2);
    both[0] = {.value = p50, .cpu = cpu, .samples = std::move(samples)};
    both[1] = {.value = p99};
    return both;
}

std::vector<target> hit_targets(std::size_t n)
{
    switch (n) {
    case 1:
        return {target::at_most(5)};
    case 16:
        return {target::at_most(12)};
    case 64:
        return {target::at_most(35)};
    case 256:
        return {target::at_most(130)};
    default:
        return {};
    }
}

std::size_t requests_of(const bench_options& options, std::size_t n)
{
    return options.amount<std::size_t>(n >= 256 ? 500 : 2'000, 10);
}

std::vector<row> latency_rows(where at, std::size_t n, std::string_view from, std::string_view ceiling)
{
    constexpr std::array<std::string_view, 3> names{"L1 hit", "hit", "miss"};
    const std::string name{names.at(static_cast<std::size_t>(at))};
    std::vector<row> rows{latency_row(name + " p50", n, from, ceiling), latency_row(name + " p99", n, from, ceiling)};
    rows[0].cpu_unit = "us/request";
    return rows;
}

workload on_executor(const bench_options& options, where at, std::size_t n)
{
    auto state = std::make_shared<prefetch_state>(n, at, loop::caller);
    const auto requests = requests_of(options, n);
    workload w;
    w.rows = latency_rows(at, n, "executor", at == where::l2 ? "memcpy" : "");
    if (at == where::l2)
        w.rows[0].targets = hit_targets(n);
    else if (at == where::nowhere && n == 64)
        w.rows[0].targets = {target::at_most(4)};
    w.prepare = [=] { state->queue.refill(requests); };
    w.run = [=] {
        std::vector<double> waits;
        waits.reserve(requests);
        const stopwatch watch;
        state->bed.run(prefetch_on_executor(state->bed.engine(), state->queue, state->hits, waits));
        return percentiles(std::move(waits), watch.cpu() * 1e6 / static_cast<double>(requests));
    };
    if (at == where::l2)
        w.ceiling = [=] {
            auto times = copy_times(*state, requests);
            return std::vector{percentile_of(times, 0.5), percentile_of(times, 0.99)};
        };
    return w;
}

/// From a thread that is not the executor's. What bounds it is the same on the executor, and the way there and back.
workload from_thread(const bench_options& options, where at, std::size_t n, loop how)
{
    const bool sleeps = how == loop::sleeping;
    auto state = std::make_shared<prefetch_state>(n, at, how);
    const auto requests = options.amount<std::size_t>(n >= 256 ? 200 : 500, 5);
    workload w;
    w.rows = latency_rows(at, n, sleeps ? "sleeping thread" : "spinning thread",
                          sleeps ? "on executor + 2 wake-ups" : "on executor");
    // Half a wake-up is within what one machine's wake-ups differ by from one moment to the next.
    w.rows[0].targets = {sleeps ? target::ratio_of_at_least(0.95) : target::above_ceiling_at_most(3)};
    w.prepare = [=] { state->queue.refill(requests); };
    w.run = [=] {
        std::vector<double> waits;
        waits.reserve(requests);
        const auto prefetch = sleeps ? &prefetch_and_sleep : &prefetch_and_spin;
        const stopwatch watch;
        prefetch(state->bed.engine(), state->queue, state->hits, waits);
        return percentiles(std::move(waits), watch.cpu() * 1e6 / static_cast<double>(requests));
    };
    w.ceiling = [=] {
        state->queue.refill(requests);
        std::vector<double> waits;
        state->bed.run(prefetch_on_executor(state->bed.engine(), state->queue, state->hits, waits));
        std::vector<double> both{percentile_of(waits, 0.5), percentile_of(waits, 0.99)};
        if (sleeps) {
            std::vector<double> trips;
            round_trips_asleep(state->bed.context(), requests, trips);
            both[0] += percentile_of(trips, 0.5);
            both[1] += percentile_of(trips, 0.99);
        }
        return both;
    };
    return w;
}

/// What the threads themselves take, without the engine.
workload round_trip(const bench_options& options, loop how)
{
    const bool sleeps = how == loop::sleeping;
    const auto trips = options.amount<std::size_t>(2'000, 5);
    auto state = std::make_shared<prefetch_state>(1, where::nowhere, how);
    workload w;
    w.rows = {latency_row("empty handler p50", 0, sleeps ? "sleeping thread" : "spinning thread", ""),
              latency_row("empty handler p99", 0, sleeps ? "sleeping thread" : "spinning thread", "")};
    w.rows[0].cpu_unit = "us/request";
    for (auto& row : w.rows)
        row.parameters.erase(row.parameters.begin()); // there are no keys
    w.run = [=] {
        std::vector<double> times;
        times.reserve(trips);
        const stopwatch watch;
        (sleeps ? &round_trips_asleep : &round_trips_spinning)(state->bed.context(), trips, times);
        return percentiles(std::move(times), watch.cpu() * 1e6 / static_cast<double>(trips));
    };
    return w;
}

workload outstanding(const bench_options& options, bool hit)
{
    constexpr std::size_t n = 64;
    constexpr std::size_t clients = 64;
    auto state = std::make_shared<prefetch_state>(n, hit ? where::l2 : where::nowhere, loop::caller);
    const auto requests = options.amount<std::size_t>(hit ? 4'000 : 20'000, 100);
    const auto count = static_cast<double>(requests);

    row rate{.workload = "prefetch",
             .name = hit ? "hit, 64 outstanding" : "miss, 64 outstanding",
             .parameters = {{"N", fmt::to_string(n)}, {"from", "executor"}},
             .unit = "requests/s",
             .better = better::higher,
             .ceiling_name = hit ? "memcpy" : ""};
    row cpu = rate;
    cpu.name += ", CPU";
    cpu.unit = "us/request";
    cpu.better = better::lower;
    if (hit) {
        rate.targets = {target::at_least(25'000)};
        cpu.targets = {target::at_most(40)};
    }

    workload w;
    w.rows = {rate, cpu};
    w.prepare = [=] { state->queue.refill(requests); };
    w.run = [=] {
        const stopwatch watch;
        state->bed.run(prefetch_side_by_side(state->bed.engine(), state->queue, state->hits, clients));
        return std::vector{reading{.value = count / watch.seconds()}, reading{.value = watch.cpu() * 1e6 / count}};
    };
    if (hit)
        w.ceiling = [=] {
            const stopwatch watch;
            const auto seconds = state->copies.copy(requests * n);
            return std::vector{count / seconds, watch.cpu() * 1e6 / count};
        };
    return w;
}

} // namespace

std::vector<workload_maker> prefetch_workloads(const bench_options& options)
{
    constexpr std::array<std::size_t, 4> sizes{1, 16, 64, 256};
    std::vector<workload_maker> makers;
    for (const auto at : {where::l2, where::nowhere, where::l1})
        for (const auto n : sizes)
            makers.push_back([=] { return on_executor(options, at, n); });
    for (const auto how : {loop::sleeping, loop::spinning}) {
        makers.push_back([=] { return round_trip(options, how); });
        for (const auto at : {where::l2, where::nowhere})
            for (const auto n : std::span{sizes}.first(options.amount<std::size_t>(sizes.size(), 1)))
                makers.push_back([=] { return from_thread(options, at, n, how); });
    }
    for (const bool hit : {true, false})
        makers.push_back([=] { return outstanding(options, hit); });
    return makers;
}

} // namespace terrace::bench
