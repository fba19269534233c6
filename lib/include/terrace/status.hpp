#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/l2_adapter.hpp>

namespace terrace {

/// Names an adapter of one storage_manager; never used twice.
enum class adapter_id : std::uint32_t {};

/// How long things took since the start.
struct latency_histogram {
    /// 1, 2 and 5 us, 10, 20 and 50 us, and so on up to 50 s.
    static constexpr std::array<std::chrono::nanoseconds, 24> bounds = [] {
        std::array<std::chrono::nanoseconds, 24> all{};
        std::int64_t decade = 1'000;
        for (std::size_t i = 0; i < all.size(); i += 3, decade *= 10) {
            all[i] = std::chrono::nanoseconds{decade};
            all[i + 1] = std::chrono::nanoseconds{2 * decade};
            all[i + 2] = std::chrono::nanoseconds{5 * decade};
        }
        return all;
    }();

    /// Those that took at most bounds[i], and more than the bound before it; the last: more than all bounds.
    std::array<std::uint64_t, bounds.size() + 1> counts{};
    std::uint64_t sum_ns = 0; ///< of what all of them took

    [[nodiscard]] std::uint64_t count() const noexcept
    {
        return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
    }
};

/// L1 as it is (gauges) and what happened to it since the start (counters).
struct l1_status {
    std::uint64_t capacity_bytes = 0;           ///< once it has grown as far as it can
    std::uint64_t grown_bytes = 0;              ///< usable now
    std::uint64_t reserved_huge_page_bytes = 0; ///< of grown_bytes, in huge pages from the kernel's pool
    std::uint64_t used_bytes = 0;               ///< resident and staged, as allocated
    std::uint64_t staged_bytes = 0;
    std::uint64_t locked_bytes = 0; ///< resident, or erased but still read
    std::uint64_t peak_used_bytes = 0;
    std::uint64_t resident_objects = 0;
    std::uint64_t staged_objects = 0;
    std::uint64_t locked_objects = 0;
    std::uint64_t locks = 0;          ///< one for each reader of each object
    std::uint64_t pinned_objects = 0; ///< by pin(); they are among the locked ones
    std::uint64_t pinned_bytes = 0;

    std::uint64_t committed_objects = 0;
    std::uint64_t discarded_objects = 0; ///< staged and never committed, or committed after another writer
    std::uint64_t evicted_objects = 0;
    std::uint64_t out_of_memory = 0;   ///< keys refused for want of room
    std::uint64_t growth_failures = 0; ///< times that L1 could not grow and went on with what it has
};

/// The prefetch chain.
struct prefetch_status {
    std::uint64_t in_flight = 0; ///< lookups, loads and unlocks in progress, late ones included
    std::uint64_t requests = 0;
    std::uint64_t keys = 0;
    std::uint64_t l1_hit_keys = 0; ///< usable keys, by the tier they came from
    std::uint64_t l2_hit_keys = 0;
    std::uint64_t loaded_bytes = 0;
    std::uint64_t failed_loads = 0; ///< objects that lookup found and load did not bring
    std::uint64_t joined_keys = 0;  ///< that a load of another request's brought
    std::uint64_t timed_out = 0;    ///< requests answered at their deadline
    std::uint64_t waiting = 0;      ///< requests in line for admission
    std::uint64_t refused = 0;      ///< requests that found the line full
    std::uint64_t l2_locks = 0;     ///< held in adapters for requests and tickets in progress
};

/// The store flow.
struct store_status {
    // Every object counts once for each adapter that the policy names for it: as queued, as in flight, and in the end
    // as stored, failed, dropped, refused or overtaken.
    std::uint64_t queued_objects = 0; ///< waiting for their turn or for a retry
    std::uint64_t queued_bytes = 0;   ///< they stay locked in L1
    std::uint64_t in_flight = 0;      ///< store calls that adapters work on
    std::uint64_t in_flight_objects = 0;
    std::uint64_t targeted_objects = 0; ///< the sum of all the others
    std::uint64_t stored_objects = 0;
    std::uint64_t stored_bytes = 0;
    std::uint64_t failed_objects = 0;    ///< an adapter could not store them, however often it was tried
    std::uint64_t dropped_objects = 0;   ///< queued when the engine closed, the adapter left, or the queue was full
    std::uint64_t refused_objects = 0;   ///< found the queue full, under full_queue_policy::refuse
    std::uint64_t overtaken_objects = 0; ///< were written over before they were stored: the newer bytes are instead

    std::uint64_t retried_objects = 0;  ///< once for each further attempt
    std::uint64_t declined_objects = 0; ///< that the policy named no adapter for
    std::uint64_t wanted_objects = 0;   ///< that came before the policy again
    std::uint64_t policy_errors = 0; ///< times that the policy threw, or answered another question: it is passed over

    std::uint64_t demoted_objects = 0; ///< moved to another adapter instead of being evicted
    std::uint64_t demoted_bytes = 0;
    std::uint64_t failed_demotions = 0; ///< objects that could not be moved
};

/// One adapter, as the engine sees it and as it describes itself.
struct adapter_entry {
    adapter_id id{};
    adapter_status self;
    adapter_health health = adapter_health::healthy; ///< the worst of what it says itself and of its breakers
    std::uint64_t breaker_trips = 0;                 ///< times that the engine left it alone after failures in a row
    std::uint64_t lookups = 0;                       ///< calls
    std::uint64_t loads = 0;
    std::uint64_t stores = 0;
    std::uint64_t unlocks = 0;
    std::uint64_t erases = 0;
    std::uint64_t errors = 0;   ///< calls that threw
    std::uint64_t timeouts = 0; ///< calls that missed their deadline
    std::uint64_t in_flight = 0;
    latency_histogram lookup_latency; ///< of calls, until the adapter had ended them, well or not, in time or late
    latency_histogram load_latency;
    latency_histogram store_latency;
};

/// Everything the engine counts, taken at one moment.
struct engine_status {
    l1_status l1;
    prefetch_status prefetch;
    latency_histogram prefetch_latency; ///< prefetch_result::latency of prefetches that were answered
    store_status store;
    std::vector<adapter_entry> adapters; ///< in order of index
    std::uint64_t internal_errors = 0;   ///< exceptions that escaped the engine's own tasks: to be reported as a bug
    std::uint64_t log_errors = 0;        ///< records that config::log threw at, or that there was no memory for
};

/// The same as a JSON object: a member for each field, by its name; health and reasons as words.
/// indent  spaces to a level; negative: all on one line
[[nodiscard]] TERRACE_API std::string to_json(const engine_status& status, int indent = -1);

} // namespace terrace
