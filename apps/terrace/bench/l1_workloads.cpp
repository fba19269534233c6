// A: what L1 costs without any L2: batches of keys written, and read while they are resident.

#include <atomic>
#include <fmt/format.h>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <unordered_map>

#include "bench/engine_bed.hpp"
#include "bench/measure.hpp"
#include "bench/workload.hpp"

namespace terrace::bench {
namespace {

constexpr std::size_t object_bytes = 4096;

using batch = std::span<const object_key>;

/// The keys of one thread, in batches.
struct lane {
    std::vector<object_key> keys;
    std::vector<batch> batches;
    std::unordered_map<object_key, std::uint64_t> index; // of the ceiling

    lane(std::size_t n, std::size_t batch_keys) : keys{fresh_keys(n)}
    {
        for (batch rest{keys}; !rest.empty(); rest = rest.subspan(std::min(batch_keys, rest.size())))
            batches.push_back(rest.first(std::min(batch_keys, rest.size())));
        index.reserve(n);
        for (const auto& key : keys)
            index.emplace(key, key.hash_code());
    }
};

/// Runs work(lane) for each lane in a thread of its own, all from the same moment; the seconds until the last is done.
template <class Work>
double run_lanes(std::vector<lane>& lanes, Work work)
{
    if (lanes.size() == 1) {
        const stopwatch watch;
        work(lanes.front());
        return watch.seconds();
    }
    std::atomic<std::size_t> ready{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    for (auto& mine : lanes)
        threads.emplace_back([&] {
            ++ready;
            while (!go)
                std::this_thread::yield();
            work(mine);
        });
    while (ready < lanes.size())
        std::this_thread::yield();
    const stopwatch watch;
    go = true;
    for (auto& thread : threads)
        thread.join();
    return watch.seconds();
}

struct l1_state {
    l1_state(std::size_t threads, std::size_t keys, std::size_t batch_keys)
        : bed{quiet_config(2 * threads * keys * object_bytes, object_bytes)}
    {
        for (std::size_t i = 0; i < threads; ++i)
            lanes.emplace_back(keys, batch_keys);
    }

    void write(const lane& mine)
    {
        for (const auto keys : mine.batches) {
            auto room = bed.engine().reserve_write(keys, layout);
            if (room.leading() != keys.size())
                throw std::runtime_error(fmt::format("L1 took {} of {} keys", room.leading(), keys.size()));
            room.commit();
        }
    }

    void read(const lane& mine)
    {
        for (const auto keys : mine.batches)
            if (const auto lease = bed.engine().read(keys); lease.size() != keys.size())
                throw std::runtime_error(fmt::format("L1 has {} of {} keys", lease.size(), keys.size()));
    }

    /// What any thread-safe index pays: a lookup for each key, and a mutex on the way in and on the way out.
    void look_up(const lane& mine)
    {
        for (const auto keys : mine.batches) {
            std::uint64_t sum = 0;
            {
                const std::scoped_lock in{mutex};
                for (const auto& key : keys)
                    sum += mine.index.find(key)->second;
            }
            const std::scoped_lock out{mutex};
            looked_up = looked_up + sum;
        }
    }

    void clear()
    {
        bed.engine().clear(clear_mode::force);
        bed.settle();
    }

    void fill_payload()
    {
        for (const auto& mine : lanes) {
            auto room = bed.engine().reserve_write(mine.keys, layout);
            for (std::size_t i = 0; i < room.size(); ++i)
                fill_random(room.bytes(i), i);
            room.commit();
        }
        bed.settle();
    }

    engine_bed bed;
    memory_layout layout = memory_layout::bytes(object_bytes);
    std::vector<lane> lanes;
    std::mutex mutex;
    std::uint64_t looked_up = 0;
};

std::vector<target> targets_of(bool reads, std::size_t threads, std::size_t batch_keys)
{
    if (threads == 1 && batch_keys == 1)
        return {target::at_most(reads ? 150 : 400)};
    if (threads == 1 && batch_keys == 256)
        return {target::at_most(reads ? 40 : 150)};
    return {};
}

workload make_pairs(const bench_options& options, bool reads, std::size_t threads, std::size_t batch_keys)
{
    const auto keys = options.amount<std::size_t>(16'384, 512);
    const auto passes = options.amount<std::size_t>(batch_keys == 1 ? 10 : 20, 1);
    auto state = std::make_shared<l1_state>(threads, keys, batch_keys);
    state->fill_payload();

    const auto per_key = 1e9 / static_cast<double>(keys);
    row what{.workload = "l1",
             .name = reads ? "read pair" : "write pair",
             .parameters = {{"batch", fmt::to_string(batch_keys)}, {"threads", fmt::to_string(threads)}},
             .unit = "ns/key",
             .ceiling_name = "hash lookup, two mutexes",
             .cpu_unit = "ns/key",
             .targets = targets_of(reads, threads, batch_keys)};
    workload w;
    w.rows.push_back(std::move(what));
    w.run = [=] {
        double seconds = 0;
        double cpu = 0;
        for (std::size_t i = 0; i < passes; ++i) {
            if (!reads)
                state->clear();
            const stopwatch watch;
            seconds += run_lanes(state->lanes, [&](lane& mine) { reads ? state->read(mine) : state->write(mine); });
            const stopwatch settling;
            state->bed.settle(); // what the calls have left for the executor belongs to them
            seconds += settling.seconds();
            cpu += watch.cpu();
        }
        const auto scale = per_key / static_cast<double>(passes);
        return std::vector{reading{.value = seconds * scale, .cpu = cpu * scale / static_cast<double>(threads)}};
    };
    w.ceiling = [=] {
        double seconds = 0;
        for (std::size_t i = 0; i < passes; ++i)
            seconds += run_lanes(state->lanes, [&](lane& mine) { state->look_up(mine); });
        return std::vector{seconds / static_cast<double>(passes) * per_key};
    };
    return w;
}

} // namespace

std::vector<workload_maker> l1_workloads(const bench_options& options)
{
    std::vector<workload_maker> makers;
    for (const std::size_t threads : {1U, 2U})
        for (const bool reads : {true, false})
            for (const std::size_t batch_keys : {1U, 16U, 256U})
                makers.push_back([=] { return make_pairs(options, reads, threads, batch_keys); });
    return makers;
}

} // namespace terrace::bench
