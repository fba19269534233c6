// F: what a key costs, and its metadata takes, beside ten thousand to ten million resident objects.

#include <fmt/format.h>
#include <malloc.h>
#include <memory>
#include <random>
#include <stdexcept>

#include <terrace/memory_adapter.hpp>

#include "bench/measure.hpp"
#include "bench/prefetcher.hpp"
#include "bench/workload.hpp"
#include "replay/text.hpp"

namespace terrace::bench {
namespace {

constexpr std::size_t object_bytes = 64;
constexpr std::size_t batch_keys = 256;
constexpr std::size_t prefetch_keys = 64;
constexpr std::size_t prefetch_sets = 64;
constexpr std::size_t smallest = 10'000;
/// What one resident object takes here, generously: payload, metadata, its key twice.
constexpr std::size_t planned_bytes = 600;

double nanoseconds_since(steady::time_point start)
{
    return std::chrono::duration<double, std::nano>(steady::now() - start).count();
}

/// An engine with so many objects in L1, and a few others below it.
struct scale_state {
    scale_state(std::size_t n, std::size_t calls_per_run)
        : calls{calls_per_run},
          resident{fresh_keys(n)},
          below{fresh_keys(prefetch_sets * prefetch_keys)},
          queue{below, prefetch_keys, layout},
          bed{quiet_config((n + calls * batch_keys + below.size()) * object_bytes + (std::size_t{4} << 20),
                           object_bytes)}
    {
        ::malloc_trim(0); // what is taken from now on shows
        const auto before = resident_bytes();
        fill();
        const auto taken = resident_bytes() - std::min(before, resident_bytes());
        metadata_bytes = static_cast<double>(taken) / static_cast<double>(n);
        auto adapter = std::make_unique<memory_adapter>();
        bed.store_directly(*adapter, below, object_bytes);
        bed.engine().add_adapter(std::move(adapter));
    }

    void fill()
    {
        for (std::size_t i = 0; i < resident.size(); i += batch_keys) {
            const auto keys = std::span{resident}.subspan(i, std::min(batch_keys, resident.size() - i));
            auto room = bed.engine().reserve_write(keys, layout);
            if (room.leading() != keys.size())
                throw std::runtime_error(fmt::format("L1 is full after {} objects", i + room.leading()));
            for (std::size_t k = 0; k < keys.size(); ++k)
                fill_random(room.bytes(k), keys[k].hash_code());
            room.commit();
            if (i % (64 * batch_keys) == 0)
                bed.settle();
        }
        bed.settle();
    }

    /// Draws the keys of the reads, and takes away what the last run has written.
    void prepare()
    {
        chains.clear();
        strangers.clear();
        const auto slice = resident.size() / batch_keys;
        for (std::size_t call = 0; call < calls; ++call) {
            const auto first = resident.begin() + static_cast<std::ptrdiff_t>(random() % slice * batch_keys);
            chains.insert(chains.end(), first, first + batch_keys);
            for (std::size_t k = 0; k < batch_keys; ++k) // one from each of so many slices: all are different
                strangers.push_back(resident[k * slice + random() % slice]);
        }
        for (auto rest = std::span{written}; !rest.empty(); rest = rest.subspan(batch_keys))
            bed.engine().erase(rest.first(batch_keys));
        written = fresh_keys(calls * batch_keys);
        queue.refill(4 * calls);
        waits_us.clear();
        waits_us.reserve(4 * calls);
        bed.settle();
    }

    /// Nanoseconds per key, the median over the batches: some of them meet what else the machine does.
    double read(std::span<const object_key> wanted)
    {
        std::vector<double> each_ns;
        each_ns.reserve(calls);
        for (; !wanted.empty(); wanted = wanted.subspan(batch_keys)) {
            const auto start = steady::now();
            const auto hits = bed.engine().read(wanted.first(batch_keys)).size(); // and released
            each_ns.push_back(nanoseconds_since(start) / batch_keys);
            if (hits != batch_keys)
                throw std::runtime_error(fmt::format("{} of {} resident objects were read", hits, batch_keys));
        }
        bed.settle();
        return percentile_of(each_ns, 0.5);
    }
    double write()
    {
        std::vector<double> each_ns;
        each_ns.reserve(calls);
        for (auto rest = std::span<const object_key>{written}; !rest.empty(); rest = rest.subspan(batch_keys)) {
            const auto start = steady::now();
            auto room = bed.engine().reserve_write(rest.first(batch_keys), layout);
            const auto granted = room.leading();
            room.commit();
            each_ns.push_back(nanoseconds_since(start) / batch_keys);
            if (granted != batch_keys)
                throw std::runtime_error(fmt::format("L1 took {} of {} objects", granted, batch_keys));
        }
        bed.settle();
        return percentile_of(each_ns, 0.5);
    }
    /// Microseconds, the median.
    double prefetch()
    {
        bed.run(prefetch_on_executor(bed.engine(), queue, {prefetch_keys}, waits_us));
        return percentile_of(waits_us, 0.5);
    }

    std::vector<double> all()
    {
        prepare();
        const auto chains_ns = read(chains);
        const auto strangers_ns = read(strangers);
        const auto prefetch_us = prefetch();
        return {chains_ns, strangers_ns, write(), prefetch_us, metadata_bytes};
    }

    std::size_t calls;
    memory_layout layout = memory_layout::bytes(object_bytes);
    std::vector<object_key> resident;
    std::vector<object_key> below;
    request_queue queue;
    engine_bed bed;
    std::mt19937_64 random{1};
    std::vector<object_key> chains;    // batches as they were written
    std::vector<object_key> strangers; // batches of keys that were written at different times
    std::vector<object_key> written;
    std::vector<double> waits_us;
    double metadata_bytes = 0;
};

std::vector<row> scale_rows(std::size_t n)
{
    const bool compared = n > smallest;
    auto cost = [&](const char* name, const char* unit) {
        row r{.workload = "scale",
              .name = name,
              .parameters = {{"resident", replay::grouped(n)}},
              .unit = unit,
              .ceiling_name = compared ? "at 10,000" : ""};
        if (compared)
            r.targets = {target::ratio_of_at_least(0.5)};
        return r;
    };
    std::vector<row> rows{cost("read pair, batch 256, as written", "ns/key"),
                          cost("read pair, batch 256, at random", "ns/key"), cost("write pair, batch 256", "ns/key"),
                          cost("prefetch hit p50, N 64", "us")};
    rows.push_back({.workload = "scale",
                    .name = "metadata",
                    .parameters = {{"resident", replay::grouped(n)}},
                    .unit = "B/object"});
    if (compared) // fewer are lost among what the process takes besides
        rows.back().targets = {target::at_most(160)};
    return rows;
}

workload make_scale(const bench_options& options, std::size_t n)
{
    const auto calls = options.amount<std::size_t>(200, 2);
    auto few = n > smallest ? std::make_shared<scale_state>(smallest, calls) : nullptr;
    auto many = std::make_shared<scale_state>(n, calls);
    workload w;
    w.rows = scale_rows(n);
    w.run = [=] {
        std::vector<reading> readings;
        for (const auto value : many->all())
            readings.push_back({.value = value});
        return readings;
    };
    if (few)
        w.ceiling = [=] {
            auto values = few->all();
            values.back() = reading::none;
            return values;
        };
    return w;
}

} // namespace

std::vector<workload_maker> scale_workloads(const bench_options& options)
{
    constexpr std::size_t largest = 10'000'000;
    const auto most = std::min<std::size_t>(options.most.value_or(options.amount<std::size_t>(largest, smallest)),
                                            available_bytes() / 4 * 3 / planned_bytes);
    std::vector<workload_maker> makers;
    for (std::size_t n = smallest; n <= most; n *= 10)
        makers.push_back([=] { return make_scale(options, n); });
    return makers;
}

} // namespace terrace::bench
