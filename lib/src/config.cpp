#include "flow/breaker.hpp"

#include <bit>
#include <fmt/format.h>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <terrace/config.hpp>

namespace terrace {
namespace {

[[noreturn]] void reject(std::string_view what, const auto& value, std::string_view expected)
{
    throw std::invalid_argument(fmt::format("{} is {}; expected {}", what, value, expected));
}

constexpr std::chrono::milliseconds longest_timeout = std::chrono::hours{24 * 365}; // so that no time point overflows

void check_timeout(std::string_view what, std::chrono::milliseconds timeout)
{
    if (timeout.count() <= 0 || timeout > longest_timeout)
        reject(what, timeout.count(), "1 ms to a year");
}

void check_retries(const retry_options& retries)
{
    constexpr std::chrono::milliseconds day = std::chrono::hours{24}; // so that no time point overflows
    if (retries.attempts == 0)
        reject("adapter_options.store_retries.attempts", 0, "at least 1");
    if (retries.max_backoff.count() <= 0 || retries.max_backoff > day)
        reject("adapter_options.store_retries.max_backoff", retries.max_backoff.count(), "1 ms to one day");
    if (retries.backoff.count() <= 0 || retries.backoff > retries.max_backoff)
        reject("adapter_options.store_retries.backoff", retries.backoff.count(),
               fmt::format("1 ms to max_backoff, which is {} ms", retries.max_backoff.count()));
    if (retries.give_up_after.count() <= 0 || retries.give_up_after > day)
        reject("adapter_options.store_retries.give_up_after", retries.give_up_after.count(), "1 ms to one day");
}

} // namespace

void check(const config& cfg)
{
    if (cfg.l1.capacity_bytes < 4096 || cfg.l1.capacity_bytes > std::uint64_t{1} << 47)
        reject("l1.capacity_bytes", cfg.l1.capacity_bytes, "4096 to 2^47");
    if (!std::has_single_bit(cfg.l1.alignment_bytes) || cfg.l1.alignment_bytes < 64 ||
        cfg.l1.alignment_bytes > 2U << 20)
        reject("l1.alignment_bytes", cfg.l1.alignment_bytes, "a power of two, 64 to 2097152");
    if (cfg.l1.alignment_bytes > cfg.l1.capacity_bytes)
        reject("l1.alignment_bytes", cfg.l1.alignment_bytes,
               fmt::format("at most l1.capacity_bytes, which is {}", cfg.l1.capacity_bytes));
    if (cfg.l1.initial_bytes > cfg.l1.capacity_bytes)
        reject("l1.initial_bytes", cfg.l1.initial_bytes,
               fmt::format("0 for all, or at most l1.capacity_bytes, which is {}", cfg.l1.capacity_bytes));
    if (cfg.l1.slice_bytes == 0 || cfg.l1.slice_bytes > std::uint64_t{1} << 47)
        reject("l1.slice_bytes", cfg.l1.slice_bytes, "1 to 2^47");
    if (cfg.l1.prefault_threads > 256)
        reject("l1.prefault_threads", cfg.l1.prefault_threads, "0 for as many as there are cores, or at most 256");
    if (cfg.l1.numa_node > 1023) // false for none
        reject("l1.numa_node", *cfg.l1.numa_node, "the number of a NUMA node, at most 1023");
    const auto [high, low] = std::pair{cfg.eviction.high_watermark, cfg.eviction.low_watermark};
    if (!(high > 0 && high <= 1))
        reject("eviction.high_watermark", high, "more than 0, at most 1");
    if (!(low >= 0 && low <= high))
        reject("eviction.low_watermark", low, fmt::format("0 to eviction.high_watermark, which is {}", high));
    if (!(cfg.pinned_limit >= 0 && cfg.pinned_limit <= 1))
        reject("pinned_limit", cfg.pinned_limit, "0 to 1");
    if (cfg.prefetch == nullptr)
        throw std::invalid_argument("prefetch is null; expected a prefetch_policy");
    if (cfg.store == nullptr)
        throw std::invalid_argument("store is null; expected a store_policy");
    const prefetch_limits_config& limits = cfg.prefetch_limits;
    if (limits.requests_in_flight == 0)
        reject("prefetch_limits.requests_in_flight", 0, "at least 1");
    if (limits.window_bytes == 0)
        reject("prefetch_limits.window_bytes", 0, "at least 1");
    check_timeout("prefetch_limits.room_timeout", limits.room_timeout);
    check_timeout("close_timeout", cfg.close_timeout);
    if (!cfg.eviction.make_policy)
        (void)eviction_policy::make(cfg.eviction.policy, cfg.eviction.quotas);
}

void check(const adapter_options& options)
{
    const std::pair<std::string_view, std::chrono::milliseconds> timeouts[] = {
        {"lookup_timeout", options.lookup_timeout},
        {"load_timeout", options.load_timeout},
        {"store_timeout", options.store_timeout},
        {"unlock_timeout", options.unlock_timeout},
    };
    for (const auto& [name, timeout] : timeouts)
        check_timeout(fmt::format("adapter_options.{}", name), timeout);
    if (options.stores_in_flight == 0)
        reject("adapter_options.stores_in_flight", 0, "at least 1");
    if (options.store_window_bytes == 0)
        reject("adapter_options.store_window_bytes", 0, "at least 1");
    check_retries(options.store_retries);
    check(options.breaker);
}

} // namespace terrace
