#include "bench/engine_bed.hpp"

#include <algorithm>
#include <bit>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <exception>
#include <fmt/format.h>
#include <stdexcept>

namespace terrace::bench {
namespace {

asio::awaitable<void> store_all(l2_adapter& adapter, std::span<const object_key> keys, std::size_t object_bytes)
{
    // No more at a time than a store flow would have in flight.
    const auto batch = std::max<std::size_t>((std::size_t{16} << 20) / object_bytes, 1);
    const object_pool source{std::min(batch, keys.size()), object_bytes};
    const auto layout = memory_layout::bytes(object_bytes);
    for (; !keys.empty(); keys = keys.subspan(std::min(batch, keys.size()))) {
        std::vector<store_item> items;
        for (const auto& key : keys.first(std::min(batch, keys.size()))) {
            fill_random(source.object(items.size()).first(std::min<std::size_t>(object_bytes, 64)), key.hash_code());
            items.emplace_back(key, layout, source.object(items.size()));
        }
        const bitmap stored = co_await adapter.store(items);
        if (stored.count() != items.size())
            throw std::runtime_error(
                fmt::format("{} of {} objects could not be stored", items.size() - stored.count(), items.size()));
    }
}

} // namespace

engine_bed::engine_bed(config cfg, bench::loop how) : how_{how}
{
    engine_.emplace(context_.get_executor(), std::move(cfg));
    if (how_ == loop::caller)
        return;
    busy_.emplace(context_.get_executor());
    thread_ = std::thread{[this] {
        if (how_ == loop::sleeping)
            context_.run();
        else
            spin();
    }};
}

engine_bed::~engine_bed()
{
    try {
        run(engine_->close());
    } catch (const std::exception& e) {
        fmt::print(stderr, "terrace: close: {}\n", e.what());
    }
    if (thread_.joinable()) {
        busy_.reset();
        stopped_ = true;
        context_.stop();
        thread_.join();
    }
}

void engine_bed::spin()
{
    constexpr unsigned idle_polls_per_yield = 1'000; // for machines with more threads than processors
    for (unsigned idle = 0; !stopped_.load(std::memory_order_relaxed);) {
        idle = context_.poll() == 0 ? idle + 1 : 0;
        if (idle == idle_polls_per_yield) {
            std::this_thread::yield();
            idle = 0;
        }
    }
}

void engine_bed::run(asio::awaitable<void> work)
{
    if (how_ != loop::caller) {
        asio::co_spawn(context_, std::move(work), asio::use_future).get();
        return;
    }
    std::exception_ptr failed;
    context_.restart();
    asio::co_spawn(context_, std::move(work), [&](std::exception_ptr failure) {
        failed = std::move(failure);
        context_.stop(); // the engine's own flows wait for ever
    });
    context_.run();
    if (failed)
        std::rethrow_exception(failed);
}

void engine_bed::settle()
{
    context_.restart();
    context_.poll();
}

void engine_bed::store_directly(l2_adapter& adapter, std::span<const object_key> keys, std::size_t object_bytes)
{
    run(store_all(adapter, keys, object_bytes));
}

config quiet_config(std::uint64_t capacity_bytes, std::uint64_t object_bytes)
{
    config cfg;
    cfg.l1.capacity_bytes = capacity_bytes;
    cfg.l1.alignment_bytes =
        static_cast<std::uint32_t>(std::bit_ceil(std::clamp<std::uint64_t>(object_bytes, 64, 4096)));
    cfg.l1.prefault = prefault_mode::at_start;
    cfg.eviction.high_watermark = 1;
    cfg.eviction.low_watermark = 1;
    return cfg;
}

} // namespace terrace::bench
