// E: a trace of requests, back to back: prefetch, read, write what was missing.

#include <cstring>
#include <fmt/format.h>
#include <memory>

#include <terrace/memory_adapter.hpp>
#include <terrace/text_options.hpp>

#include "bench/engine_bed.hpp"
#include "bench/measure.hpp"
#include "bench/workload.hpp"
#include "replay/replayer.hpp"
#include "replay/statistics.hpp"
#include "replay/text.hpp"
#include "replay/trace_generator.hpp"

namespace terrace::bench {
namespace {

constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = 1024 * kib;

/// What a trace must give, where it is known: counted by hand from the file.
struct known_trace {
    std::size_t requests;
    std::uint64_t blocks;
    std::uint64_t prefix_hits;
};
constexpr known_trace conversation_start{.requests = 2'000, .blocks = 54'559, .prefix_hits = 15'771};

std::vector<replay::trace_request> requests_of(const bench_options& options)
{
    const auto most = options.amount<std::size_t>(2'000, 50);
    if (!options.trace.empty())
        return replay::read_trace(options.trace, most);
    auto requests = replay::generate_trace({});
    requests.resize(std::min(requests.size(), most));
    return requests;
}

struct replay_state {
    replay_state(std::vector<replay::trace_request> trace, std::uint64_t bytes, std::uint64_t l1_capacity)
        : requests{std::move(trace)},
          object_bytes{bytes},
          l1_bytes{l1_capacity}
    {
        for (const auto& request : requests)
            blocks += request.hash_ids.size();
    }

    void play()
    {
        auto cfg = quiet_config(l1_bytes, object_bytes);
        cfg.eviction = {}; // as it is by default
        replay::replay_options how;
        how.object_bytes = object_bytes;
        const stopwatch watch;
        replay::replayer player{requests, std::move(cfg), how};
        player.add_adapter(std::make_unique<memory_adapter>());
        const stopwatch playing;
        last = player.run();
        cpu = playing.cpu();
    }

    /// Seconds that the bytes of the last replay take to copy: into L1 and from there into fresh memory what was
    /// missing, back into L1 what was hit below it.
    double copy_the_same()
    {
        const auto missing = last.blocks - last.prefix_hit_blocks;
        std::vector<std::unique_ptr<std::byte[]>> below;
        below.reserve(missing);
        const stopwatch watch;
        for (std::size_t i = 0; i < missing; ++i) {
            const auto in_l1 = l1.object(i);
            std::memcpy(in_l1.data(), filler.object(0).data(), object_bytes);
            below.push_back(std::make_unique_for_overwrite<std::byte[]>(object_bytes));
            std::memcpy(below.back().get(), in_l1.data(), object_bytes);
        }
        for (std::size_t i = 0; i < last.l2_hit_blocks; ++i)
            std::memcpy(l1.object(i).data(), below[i % missing].get(), object_bytes);
        return watch.seconds();
    }

    [[nodiscard]] double microseconds(double share) const
    {
        return std::chrono::duration<double, std::micro>(replay::percentile(last.waits, share)).count();
    }
    [[nodiscard]] bool is_known() const
    {
        return requests.size() == conversation_start.requests && blocks == conversation_start.blocks;
    }

    std::vector<replay::trace_request> requests;
    std::uint64_t object_bytes;
    std::uint64_t l1_bytes;
    std::uint64_t blocks = 0;
    replay::replay_outcome last;
    double cpu = 0;
    object_pool l1{l1_bytes / object_bytes, object_bytes};
    object_pool filler{1, object_bytes};
};

std::vector<row> replay_rows(const replay_state& state, const std::string& trace)
{
    row rate{.workload = "replay",
             .name = "requests",
             .parameters = {{"trace", trace},
                            {"objects", format_bytes(state.object_bytes)},
                            {"L1", format_bytes(state.l1_bytes)}},
             .unit = "requests/s",
             .better = better::higher,
             .ceiling_name = "memcpy of the same bytes",
             .cpu_unit = "us/request"};
    auto other = [&](const char* name, const char* unit) {
        row r = rate;
        r.name = name;
        r.unit = unit;
        r.better = better::lower;
        r.ceiling_name.clear();
        r.cpu_unit.clear();
        return r;
    };
    std::vector<row> rows{rate, other("prefetch p50", "us"), other("prefetch p99", "us"),
                          other("prefix hits", "blocks"), other("dropped", "objects")};
    rows[3].better = better::higher;
    rows[3].parameters.emplace_back("of", fmt::format("{} blocks", replay::grouped(state.blocks)));
    rows[4].targets = {target::exactly(0)};
    if (!state.is_known())
        return rows;
    if (state.object_bytes == 64 * kib) {
        rows[0].targets = {target::ratio_of_at_least(0.7), target::at_least(2'000)};
        rows[1].targets = {target::at_most(80)};
        rows[2].targets = {target::at_most(1'000)};
    } else {
        rows[0].targets = {target::at_least(15'000)};
    }
    rows[3].targets = {target::exactly(static_cast<double>(conversation_start.prefix_hits))};
    return rows;
}

workload make_replay(const bench_options& options, std::uint64_t object_bytes, std::uint64_t l1_bytes)
{
    auto state = std::make_shared<replay_state>(requests_of(options), object_bytes, l1_bytes);
    workload w;
    w.rows = replay_rows(*state, options.trace.empty() ? "generated" : options.trace.filename().string());
    w.run = [=] {
        state->play();
        const auto& o = state->last;
        const auto n = static_cast<double>(o.requests);
        const auto seconds = std::chrono::duration<double>(o.elapsed).count();
        std::vector<reading> readings(5);
        readings[0] = {.value = n / seconds, .cpu = state->cpu * 1e6 / n};
        readings[1].value = state->microseconds(0.5);
        for (const auto wait : o.waits)
            readings[1].samples.push_back(std::chrono::duration<double, std::micro>(wait).count());
        readings[2].value = state->microseconds(0.99);
        readings[3].value = static_cast<double>(o.prefix_hit_blocks);
        readings[4].value = static_cast<double>(o.dropped_objects());
        return readings;
    };
    w.ceiling = [=] {
        std::vector<double> values(5, reading::none);
        values[0] = static_cast<double>(state->last.requests) / state->copy_the_same();
        return values;
    };
    return w;
}

} // namespace

std::vector<workload_maker> replay_workloads(const bench_options& options)
{
    const auto l1 = [&](std::uint64_t full) { return options.amount<std::uint64_t>(full, full / 4); };
    return {[=] { return make_replay(options, 64 * kib, l1(256 * mib)); },
            [=] { return make_replay(options, 4 * kib, l1(16 * mib)); }};
}

} // namespace terrace::bench
