// C: how fast a prefetch brings large objects, from memory and from files.

#include <fmt/format.h>
#include <memory>

#include <terrace/io/checksum.hpp>

#include "bench/measure.hpp"
#include "bench/places.hpp"
#include "bench/prefetcher.hpp"
#include "bench/workload.hpp"

namespace terrace::bench {
namespace {

struct load_state {
    load_state(const place& where, std::size_t objects, std::size_t object_bytes)
        : stored{where},
          keys{fresh_keys(objects)},
          queue{keys, objects, memory_layout::bytes(object_bytes)},
          raw{raw_files_for(where, objects, object_bytes)},
          copies{objects, objects, object_bytes},
          // Twice what is in flight, which may be half of L1 at most.
          bed{quiet_config(2 * objects * object_bytes + (std::size_t{64} << 20), object_bytes)}
    {
        bed.store_directly(stored.adapter(), keys, object_bytes);
        bed.engine().add_adapter(stored.take());
    }

    placed_adapter stored; // its directory goes after the engine
    std::vector<object_key> keys;
    request_queue queue;
    std::unique_ptr<raw_files> raw;
    copy_ceiling copies;
    engine_bed bed;
};

std::vector<target> speed_targets(const place& where)
{
    if (where.in_memory() || where.past_the_page_cache())
        return {target::ratio_of_at_least(0.95)};
    return {target::ratio_of_at_least(0.9)};
}

/// The processor's time for the checksums of one GiB that comes from memory.
double checksum_seconds_per_gib(const object_pool& objects)
{
    const stopwatch watch;
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < objects.size(); ++i)
        sum += io::checksum(objects.object(i));
    volatile std::uint64_t kept = sum; // so that it is computed
    (void)kept;
    return watch.cpu() / (static_cast<double>(objects.size() * objects.object_bytes()) / 0x1p30);
}

workload make_load(const bench_options& options, const place& where, std::size_t objects, std::size_t object_bytes)
{
    const auto passes = options.amount<std::size_t>(where.in_memory() ? 8 : 4, 1);
    auto state = std::make_shared<load_state>(where, objects, object_bytes);
    const auto gib = static_cast<double>(passes * objects * object_bytes) / 0x1p30;

    row speed{.workload = "load",
              .name = where.name,
              .parameters = {{"objects", batch_text(objects, object_bytes)}},
              .unit = "GiB/s",
              .better = better::higher,
              .ceiling_name = "memcpy",
              .cpu_unit = "s/GiB",
              .targets = speed_targets(where)};
    workload w;
    if (state->raw) {
        (void)state->raw->read(passes); // finds its best depth
        speed.ceiling_name = state->raw->name();
    }
    w.rows.push_back(speed);
    if (where.past_the_page_cache()) {
        row cpu = speed;
        cpu.name += ", CPU";
        cpu.unit = "s/GiB";
        cpu.better = better::lower;
        cpu.cpu_unit.clear();
        cpu.ceiling_name = "checksum";
        cpu.targets = {target::above_ceiling_at_most(0.05)};
        w.rows.push_back(std::move(cpu));
    }
    w.prepare = [=] { state->queue.refill(passes); };
    w.run = [=, n = w.rows.size()] {
        std::vector<double> waits;
        waits.reserve(passes);
        const stopwatch watch;
        state->bed.run(prefetch_on_executor(state->bed.engine(), state->queue, {objects}, waits));
        const auto cpu = watch.cpu() / gib;
        std::vector<reading> readings(n);
        readings.back().value = cpu;
        readings.front() = {.value = gib / watch.seconds(), .cpu = cpu};
        return readings;
    };
    w.ceiling = [=, n = w.rows.size()] {
        std::vector<double> values(n);
        if (n > 1)
            values.back() = checksum_seconds_per_gib(state->copies.source());
        values.front() = state->raw ? state->raw->read(passes) : gib / state->copies.copy(passes * objects);
        return values;
    };
    return w;
}

} // namespace

std::vector<workload_maker> load_workloads(const bench_options& options)
{
    constexpr std::size_t mib = std::size_t{1} << 20;
    std::vector<workload_maker> makers;
    for (const auto& where : places(options)) {
        makers.push_back([=] { return make_load(options, where, options.amount<std::size_t>(64, 4), mib); });
        if (!options.quick)
            makers.push_back([=] { return make_load(options, where, 32, 8 * mib); });
    }
    return makers;
}

} // namespace terrace::bench
