// D: how long it takes from a commit in L1 until the objects are visible in the adapter.

#include <boost/asio/use_future.hpp>
#include <cstring>
#include <fmt/format.h>
#include <functional>
#include <memory>
#include <stdexcept>

#include "bench/measure.hpp"
#include "bench/places.hpp"
#include "bench/prefetcher.hpp"
#include "bench/watched_adapter.hpp"
#include "bench/workload.hpp"

namespace terrace::bench {
namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

asio::awaitable<void> commit_and_flush(storage_manager& engine, write_lease& room, store_watch& watch)
{
    watch.expect(room.size());
    room.commit();
    co_await engine.flush();
}

asio::awaitable<void> erase_all(l2_adapter& adapter, std::span<const object_key> keys)
{
    (void)co_await adapter.erase(keys);
}

/// Objects copied into memory that is asked for just then, as a store that keeps them in memory has to. The allocator
/// gives both what it was given back before: pages that are there.
class fresh_copies {
public:
    fresh_copies(std::size_t objects, std::size_t object_bytes) : source_{objects, object_bytes} {}

    /// Seconds for all objects; what the last call has copied goes before.
    double copy()
    {
        kept_.clear();
        const stopwatch watch;
        for (std::size_t i = 0; i < source_.size(); ++i) {
            auto& bytes = kept_.emplace_back(std::make_unique_for_overwrite<std::byte[]>(source_.object_bytes()));
            std::memcpy(bytes.get(), source_.object(i).data(), source_.object_bytes());
        }
        return watch.seconds();
    }

private:
    object_pool source_;
    std::vector<std::unique_ptr<std::byte[]>> kept_;
};

struct store_state {
    store_state(const place& where, std::size_t n, std::size_t bytes, loop how)
        : objects{n},
          object_bytes{bytes},
          layout{memory_layout::bytes(bytes)},
          stored{where},
          adapter{stored.adapter()},
          bed{quiet_config(4 * n * bytes + 64 * mib, bytes), how}
    {
        bed.engine().add_adapter(make_watched_adapter(stored.take(), watch));
    }

    /// Takes away what the last round has left, and fills L1 for the next.
    void prepare()
    {
        bed.run(erase_all(adapter, keys));
        bed.engine().clear(clear_mode::force);
        keys = fresh_keys(objects);
        room = bed.engine().reserve_write(keys, layout);
        if (room.leading() != objects)
            throw std::runtime_error(fmt::format("L1 took {} of {} objects", room.leading(), objects));
        for (std::size_t i = 0; i < objects; ++i)
            fill_random(room.bytes(i), keys[i].hash_code());
    }

    void commit_on_executor()
    {
        bed.run(commit_and_flush(bed.engine(), room, *watch));
        expect_all_visible();
    }

    /// Where a thread of its own runs the executor: seconds from a commit on this one.
    void commit_from_here()
    {
        watch->expect(objects);
        room.commit();
        while (!watch->all_visible()) // flush() would wake the executor a second time
            std::this_thread::sleep_for(std::chrono::microseconds{50});
        bed.engine().async_flush(asio::use_future).get();
    }

    void expect_all_visible() const
    {
        if (!watch->all_visible())
            throw std::runtime_error(fmt::format("not all of {} objects were stored", objects));
    }

    std::size_t objects;
    std::size_t object_bytes;
    memory_layout layout;
    std::shared_ptr<store_watch> watch = std::make_shared<store_watch>();
    placed_adapter stored;
    l2_adapter& adapter; // the engine's
    std::vector<object_key> keys;
    engine_bed bed;
    write_lease room;
};

/// Prepares and commits so many times. Seconds, processor's seconds, and the microseconds of each.
struct rounds_outcome {
    double seconds = 0;
    double cpu = 0;
    std::vector<double> each_us;
};

rounds_outcome run_rounds(store_state& state, std::size_t rounds, const std::function<void()>& commit)
{
    rounds_outcome sum;
    for (std::size_t i = 0; i < rounds; ++i) {
        state.prepare();
        commit();
        sum.seconds += state.watch->seconds();
        sum.cpu += state.watch->cpu();
        sum.each_us.push_back(state.watch->seconds() * 1e6);
    }
    return sum;
}

reading median_of(rounds_outcome done)
{
    const auto n = static_cast<double>(done.each_us.size());
    reading r{.cpu = done.cpu * 1e6 / n};
    r.value = percentile_of(done.each_us, 0.5);
    r.samples = std::move(done.each_us);
    return r;
}

row latency_row(const place& where, std::size_t object_bytes, std::string_view from)
{
    return {.workload = "store",
            .name = where.name,
            .parameters = {{"objects", batch_text(1, object_bytes)}, {"from", std::string{from}}},
            .unit = "us",
            .cpu_unit = "us/store"};
}

/// One object at a time: p50.
workload make_latency(const bench_options& options, const place& where, std::size_t object_bytes)
{
    const auto rounds = options.amount<std::size_t>(where.in_memory() && object_bytes < mib ? 500 : 50, 4);
    auto state = std::make_shared<store_state>(where, 1, object_bytes, loop::caller);
    auto copies = std::make_shared<fresh_copies>(1, object_bytes);
    auto what = latency_row(where, object_bytes, "executor");
    if (where.in_memory())
        what.ceiling_name = "allocate, memcpy";
    else if (!where.segment)
        what.ceiling_name = "open, write, rename";
    if (where.in_memory() && object_bytes == 4 * kib)
        what.targets = {target::at_most(8)};

    workload w;
    w.rows.push_back(std::move(what));
    w.run = [=] { return std::vector{median_of(run_rounds(*state, rounds, [&] { state->commit_on_executor(); }))}; };
    if (!where.segment)
        w.ceiling = [=] {
            std::vector<double> times;
            for (std::size_t i = 0; i < rounds; ++i)
                times.push_back(where.in_memory() ? copies->copy() * 1e6
                                                  : write_and_rename_us(where.parent / "raw", object_bytes,
                                                                        where.past_the_page_cache()));
            return std::vector{percentile_of(times, 0.5)};
        };
    return w;
}

/// The same from a thread that is not the executor's, which has to be woken.
workload make_latency_from_thread(const bench_options& options, const place& where, std::size_t object_bytes)
{
    const auto rounds = options.amount<std::size_t>(200, 4);
    auto state = std::make_shared<store_state>(where, 1, object_bytes, loop::sleeping);
    auto here = std::make_shared<store_state>(where, 1, object_bytes, loop::caller);
    auto what = latency_row(where, object_bytes, "sleeping thread");
    what.ceiling_name = "on executor + wake-up";
    what.targets = {target::ratio_of_at_least(0.95)};
    workload w;
    w.rows.push_back(std::move(what));
    w.run = [=] { return std::vector{median_of(run_rounds(*state, rounds, [&] { state->commit_from_here(); }))}; };
    w.ceiling = [=] {
        auto there = run_rounds(*here, rounds, [&] { here->commit_on_executor(); });
        std::vector<double> trips;
        round_trips_asleep(state->bed.context(), rounds, trips);
        return std::vector{percentile_of(there.each_us, 0.5) + percentile_of(trips, 0.5) / 2};
    };
    return w;
}

std::vector<target> speed_targets(const place& where, std::size_t object_bytes)
{
    if (object_bytes == mib && (where.in_memory() || where.name == "file, page cache"))
        return {target::ratio_of_at_least(0.9)};
    return {};
}

workload make_throughput(const bench_options& options, const place& where, std::size_t objects,
                         std::size_t object_bytes)
{
    const auto rounds = options.amount<std::size_t>(2, 1);
    const auto gib = static_cast<double>(objects * object_bytes) / 0x1p30;
    auto state = std::make_shared<store_state>(where, objects, object_bytes, loop::caller);
    std::shared_ptr<raw_files> raw = raw_files_for(where, objects, object_bytes);
    std::shared_ptr<fresh_copies> copies;
    row what{.workload = "store",
             .name = where.name,
             .parameters = {{"objects", batch_text(objects, object_bytes)}, {"from", "executor"}},
             .unit = "GiB/s",
             .better = better::higher,
             .ceiling_name = "allocate, memcpy",
             .cpu_unit = "s/GiB",
             .targets = speed_targets(where, object_bytes)};
    if (raw) {
        (void)raw->write(); // finds its best depth
        what.ceiling_name = raw->name();
    } else {
        copies = std::make_shared<fresh_copies>(objects, object_bytes);
    }
    workload w;
    w.rows.push_back(std::move(what));
    w.run = [=] {
        const auto done = run_rounds(*state, rounds, [&] { state->commit_on_executor(); });
        const auto moved = gib * static_cast<double>(rounds);
        return std::vector{reading{.value = moved / done.seconds, .cpu = done.cpu / moved}};
    };
    w.ceiling = [=] { return std::vector{raw ? raw->write() : gib / copies->copy()}; };
    return w;
}

} // namespace

std::vector<workload_maker> store_workloads(const bench_options& options)
{
    std::vector<workload_maker> makers;
    for (const auto& where : places(options)) {
        for (const auto bytes : {4 * kib, mib})
            makers.push_back([=] { return make_latency(options, where, bytes); });
        if (where.in_memory())
            makers.push_back([=] { return make_latency_from_thread(options, where, 4 * kib); });
        makers.push_back([=] { return make_throughput(options, where, options.amount<std::size_t>(64, 4), mib); });
        if (!options.quick)
            makers.push_back([=] { return make_throughput(options, where, 32, 8 * mib); });
    }
    return makers;
}

} // namespace terrace::bench
