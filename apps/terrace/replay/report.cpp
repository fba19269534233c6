#include "replay/report.hpp"

#include <chrono>
#include <fmt/format.h>
#include <string_view>

#include <terrace/text_options.hpp>

#include "replay/statistics.hpp"
#include "replay/text.hpp"

namespace terrace::replay {
namespace {

/// Zero where there is nothing to divide by.
double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

double ratio(std::uint64_t a, std::uint64_t b)
{
    return ratio(static_cast<double>(a), static_cast<double>(b));
}

double seconds(std::chrono::nanoseconds d)
{
    return std::chrono::duration<double>(d).count();
}

double requests_per_second(const replay_outcome& o)
{
    return ratio(static_cast<double>(o.requests), seconds(o.elapsed));
}

double mean_ms(prefill_model::milliseconds sum, const replay_outcome& o)
{
    return ratio(sum.count(), static_cast<double>(o.waits.size()));
}

double percentile_us(const replay_outcome& o, double share)
{
    return std::chrono::duration<double, std::micro>(percentile(o.waits, share)).count();
}

/// Three digits and the unit that suits them.
std::string shown(std::chrono::nanoseconds d)
{
    const auto ns = static_cast<double>(d.count());
    if (ns < 1e6)
        return fmt::format("{:.3g} us", ns / 1e3);
    if (ns < 1e9)
        return fmt::format("{:.3g} ms", ns / 1e6);
    return fmt::format("{:.2f} s", ns / 1e9);
}

/// "2.4 GiB  1.31 GiB/s".
std::string traffic(std::uint64_t bytes, std::chrono::nanoseconds time)
{
    return fmt::format("{:<12} {:.2f} GiB/s", format_bytes(bytes),
                       ratio(static_cast<double>(bytes), seconds(time)) / 0x1p30);
}

/// "15,771      28.91 %", of how many.
std::string share(std::uint64_t part, std::uint64_t whole)
{
    return fmt::format("{:<12} {:.2f} %", grouped(part), 100 * ratio(part, whole));
}

std::string adapter_line(std::size_t index, const adapter_entry& a)
{
    const auto capacity =
        a.self.capacity_bytes != 0 ? fmt::format(" of {}", format_bytes(a.self.capacity_bytes)) : std::string{};
    auto line = fmt::format("{} {}  {}, {} objects, {}{}, {} lookups, {} loads, {} stores", index, a.self.name,
                            to_string(a.health), grouped(a.self.objects), format_bytes(a.self.used_bytes), capacity,
                            grouped(a.lookups), grouped(a.loads), grouped(a.stores));
    auto mention = [&](std::uint64_t n, std::string_view what) {
        if (n != 0)
            line += fmt::format(", {} {}", grouped(n), what);
    };
    mention(a.self.evicted_objects, "evicted");
    mention(a.self.kept_objects, "there already");
    mention(a.self.corrupt_objects, "corrupt");
    mention(a.self.failed_stores, "not stored");
    mention(a.errors, "calls failed");
    mention(a.timeouts, "calls timed out");
    mention(a.breaker_trips, "times left alone");
    if (!a.self.problem.empty())
        line += fmt::format(" ({})", a.self.problem);
    return line;
}

} // namespace

nlohmann::ordered_json to_json(const replay_outcome& o)
{
    return {
        {"requests", o.requests},
        {"blocks", o.blocks},
        {"prefix_hit_blocks", o.prefix_hit_blocks},
        {"prefix_hit_ratio", ratio(o.prefix_hit_blocks, o.blocks)},
        {"l1_hit_blocks", o.l1_hit_blocks},
        {"l2_hit_blocks", o.l2_hit_blocks},
        {"stored_objects", o.engine.store.stored_objects},
        {"dropped_objects", o.dropped_objects()},
        {"corrupt_objects", o.corrupt_objects()},
        {"requests_per_second", requests_per_second(o)},
        {"prefetch_latency_us",
         {{"p50", percentile_us(o, 0.50)},
          {"p90", percentile_us(o, 0.90)},
          {"p99", percentile_us(o, 0.99)},
          {"max", percentile_us(o, 1)}}},
        {"loaded_bytes", o.engine.prefetch.loaded_bytes},
        {"stored_bytes", o.engine.store.stored_bytes},
        {"ttft_ms",
         {{"with_cache", mean_ms(o.ttft_with_cache, o)}, {"without_cache", mean_ms(o.ttft_without_cache, o)}}},
        {"errors", o.errors()},
        {"engine", nlohmann::ordered_json::parse(to_json(o.engine))},
    };
}

std::string to_table(const replay_outcome& o, double tokens_per_second)
{
    std::string table;
    auto row = [&](std::string_view name, const std::string& value) {
        table += fmt::format("  {:<22}{}\n", name, value);
    };
    const auto& e = o.engine;
    row("requests", fmt::format("{:<12} {:.1f} requests/s over {:.2f} s", grouped(o.requests), requests_per_second(o),
                                seconds(o.elapsed)));
    row("blocks", grouped(o.blocks));
    row("prefix hits", share(o.prefix_hit_blocks, o.blocks));
    row("  from L1", share(o.l1_hit_blocks, o.blocks));
    row("  from L2", share(o.l2_hit_blocks, o.blocks));
    row("prefetch latency",
        fmt::format("p50 {}, p90 {}, p99 {}, max {}", shown(percentile(o.waits, 0.50)),
                    shown(percentile(o.waits, 0.90)), shown(percentile(o.waits, 0.99)), shown(percentile(o.waits, 1))));
    row("loaded from L2", traffic(e.prefetch.loaded_bytes, o.elapsed));
    row("stored to L2", fmt::format("{}, {} objects, done {} after the last request",
                                    traffic(e.store.stored_bytes, o.elapsed + o.draining),
                                    grouped(e.store.stored_objects), shown(o.draining)));
    const auto row_unless_none = [&](std::string_view name, std::uint64_t objects) {
        if (objects != 0)
            row(name, fmt::format("{} objects", grouped(objects)));
    };
    row_unless_none("  declined by policy", e.store.declined_objects);
    row_unless_none("  moved down a tier", e.store.demoted_objects);
    row("memory peak", fmt::format("L1 {} of {}, process {}", format_bytes(e.l1.peak_used_bytes),
                                   format_bytes(e.l1.capacity_bytes), format_bytes(o.peak_rss_bytes)));
    row("time to first token",
        fmt::format("mean {:.1f} ms with the cache, {:.1f} ms without, at {:g} tokens/s", mean_ms(o.ttft_with_cache, o),
                    mean_ms(o.ttft_without_cache, o), tokens_per_second));
    row("dropped", fmt::format("{} objects", grouped(o.dropped_objects())));
    row("corrupt", fmt::format("{} objects", grouped(o.corrupt_objects())));
    row("errors", grouped(o.errors()));
    for (std::size_t i = 0; i < e.adapters.size(); ++i)
        row(i == 0 ? "adapters" : "", adapter_line(i, e.adapters[i]));
    return table;
}

} // namespace terrace::replay
