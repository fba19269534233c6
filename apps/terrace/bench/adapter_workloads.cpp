// The adapters without the engine above them, beside the devices below them.

#include <fmt/format.h>
#include <memory>
#include <stdexcept>

#include "bench/engine_bed.hpp"
#include "bench/measure.hpp"
#include "bench/places.hpp"
#include "bench/workload.hpp"

namespace terrace::bench {
namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

/// Calls of `depth` items each, one after the other.
asio::awaitable<void> load_all(l2_adapter& adapter, std::span<const load_item> items, std::size_t depth)
{
    for (; !items.empty(); items = items.subspan(std::min(depth, items.size()))) {
        const bitmap loaded = co_await adapter.load(items.first(std::min(depth, items.size())));
        if (loaded.count() != std::min(depth, items.size()))
            throw std::runtime_error(fmt::format("{} of {} objects were loaded", loaded.count(), depth));
    }
}

asio::awaitable<void> store_all(l2_adapter& adapter, std::span<const store_item> items, std::size_t depth)
{
    for (; !items.empty(); items = items.subspan(std::min(depth, items.size()))) {
        const bitmap stored = co_await adapter.store(items.first(std::min(depth, items.size())));
        if (stored.count() != std::min(depth, items.size()))
            throw std::runtime_error(fmt::format("{} of {} objects were stored", stored.count(), depth));
    }
}

asio::awaitable<void> erase_all(l2_adapter& adapter, std::span<const object_key> keys)
{
    (void)co_await adapter.erase(keys);
}

struct adapter_state {
    adapter_state(const place& where, std::size_t objects, std::size_t object_bytes, std::size_t depth)
        : memory{objects, object_bytes},
          layout{memory_layout::bytes(object_bytes)},
          stored{where},
          raw{raw_files_for(where, objects, object_bytes, depth)},
          bed{quiet_config(mib, object_bytes)}
    {
    }
    ~adapter_state() { bed.run(stored.adapter().close()); }

    /// Other objects than before, in place of them.
    void renew()
    {
        bed.run(erase_all(stored.adapter(), keys));
        keys = fresh_keys(memory.size());
        loads.clear();
        stores.clear();
        for (std::size_t i = 0; i < keys.size(); ++i) {
            loads.emplace_back(keys[i], layout, memory.object(i));
            stores.emplace_back(keys[i], layout, memory.object(i));
        }
    }

    object_pool memory;
    memory_layout layout;
    placed_adapter stored;
    std::unique_ptr<raw_files> raw;
    engine_bed bed; // for its executor
    std::vector<object_key> keys;
    std::vector<load_item> loads;
    std::vector<store_item> stores;
};

workload make_adapter_row(const bench_options& options, const place& where, bool loads, std::size_t object_bytes,
                          std::size_t depth)
{
    const auto total = options.amount<std::size_t>(object_bytes > mib ? 256 * mib : 64 * mib, 4 * object_bytes);
    const auto objects = total / object_bytes;
    const auto passes = loads ? options.amount<std::size_t>(3, 1) : 1;
    const auto gib = static_cast<double>(passes * total) / 0x1p30;
    auto state = std::make_shared<adapter_state>(where, objects, object_bytes, std::min(depth, objects));
    row what{.workload = "adapter",
             .name = fmt::format("{}, {}", where.name, loads ? "load" : "store"),
             .parameters = {{"objects", batch_text(objects, object_bytes)}, {"depth", fmt::to_string(depth)}},
             .unit = "GiB/s",
             .better = better::higher,
             .cpu_unit = "s/GiB"};
    (void)(loads ? state->raw->read(passes) : state->raw->write());
    what.ceiling_name = state->raw->name();

    workload w;
    w.rows.push_back(std::move(what));
    if (loads) {
        state->renew();
        state->bed.run(store_all(state->stored.adapter(), state->stores, 16));
    } else {
        w.prepare = [=] { state->renew(); };
    }
    w.run = [=] {
        const stopwatch watch;
        for (std::size_t i = 0; i < passes; ++i)
            if (loads)
                state->bed.run(load_all(state->stored.adapter(), state->loads, depth));
            else
                state->bed.run(store_all(state->stored.adapter(), state->stores, depth));
        return std::vector{reading{.value = gib / watch.seconds(), .cpu = watch.cpu() / gib}};
    };
    w.ceiling = [=] { return std::vector{loads ? state->raw->read(passes) : state->raw->write()}; };
    return w;
}

} // namespace

std::vector<workload_maker> adapter_workloads(const bench_options& options)
{
    struct shape {
        std::size_t object_bytes;
        std::size_t depth;
        bool on_devices_only; // in memory and in the page cache it says nothing new
    };
    auto shapes =
        std::vector<shape>{{128 * kib, 64, true}, {mib, 1, true}, {mib, 8, true}, {mib, 64, false}, {8 * mib, 4, true}};
    if (options.quick)
        shapes = {{64 * kib, 4, false}};
    std::vector<workload_maker> makers;
    for (const auto& where : places(options))
        for (const bool loads : {true, false})
            for (const auto& s : shapes)
                if (!where.in_memory() && (!s.on_devices_only || where.past_the_page_cache()))
                    makers.push_back([=] { return make_adapter_row(options, where, loads, s.object_bytes, s.depth); });
    return makers;
}

} // namespace terrace::bench
