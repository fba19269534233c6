#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <terrace/api.hpp>
#include <terrace/clock.hpp>
#include <terrace/eviction_policy.hpp>
#include <terrace/l1_config.hpp>
#include <terrace/log.hpp>
#include <terrace/prefetch_policy.hpp>
#include <terrace/store_policy.hpp>

namespace terrace {

/// What leaves L1 first, when the background eviction starts and where it stops, as shares of L1's capacity.
/// reserve_write() evicts on demand besides; the background only keeps it from having to.
struct eviction_config {
    std::string policy = "lru";                    ///< a name of eviction_policy::make()
    double high_watermark = 0.95;                  ///< start above this; in (0, 1]; 1 turns the background eviction off
    double low_watermark = 0.90;                   ///< stop at this; in [0, high_watermark]
    std::shared_ptr<quota_table> quotas = nullptr; ///< of isolated_lru, the others pass them over; null: there are none
    /// A policy of the user's own, in place of a named one; called once, by the storage manager's constructor.
    std::function<std::unique_ptr<eviction_policy>()> make_policy = {};
};

/// What becomes of an object that is loaded after its request's deadline.
enum class late_load_policy : std::uint8_t {
    admit,   ///< it is retained in L1, unlocked: the next request finds it
    discard, ///< it is dropped
};

/// What bounds the prefetches. A request over a limit waits: those that somebody waits for before warm ones, higher
/// priorities before lower ones, then in order of arrival.
struct prefetch_limits_config {
    std::uint64_t bytes_in_flight = 0;        ///< being loaded at a time; 0: half of L1
    std::uint32_t requests_in_flight = 256;   ///< that load at a time; >= 1
    std::uint32_t requests_waiting = 4096;    ///< a request past that is answered with what L1 has, and counted
    std::uint64_t window_bytes = 16ULL << 20; ///< of one adapter call: what lands together can be read together; >= 1
    /// How long a request waits for L1 memory that stores in flight hold, before it makes do with what there is; > 0.
    std::chrono::milliseconds room_timeout{5'000};
};

/// Everything that can be set on a storage_manager. The constructor checks it whole and names what is wrong.
struct config {
    l1_config l1 = {};
    eviction_config eviction = {};
    std::shared_ptr<const prefetch_policy> prefetch = prefetch_policy::make("default"); ///< or a user's own
    std::shared_ptr<store_policy> store = store_policy::make("default");                ///< or a user's own

    double pinned_limit = 0.5; ///< the share of L1 that pin() may hold; in [0, 1]
    prefetch_limits_config prefetch_limits = {};
    late_load_policy late_loads = late_load_policy::admit;

    /// How long close() lets what adapters have in flight finish, how long again after it has asked it to stop, and how
    /// long then for the adapters' own close(); remove_adapter() waits as long for that; > 0.
    std::chrono::milliseconds close_timeout{30'000};

    /// Null: the machine's steady clock.
    std::shared_ptr<terrace::clock> clock = nullptr;

    /// Hears what an operator wants to read; empty: nobody does. See log.hpp, and stderr_log.hpp for one to begin with.
    log_function log = nullptr;

    /// Of what is left to chance, which is the jitter between retries. None: taken from the system.
    std::optional<std::uint64_t> random_seed = std::nullopt;
};

/// When the engine leaves a failing adapter alone, and for how long.
class breaker_options {
public:
    breaker_options() = default;

    /// Calls that must fail one after the other, by an exception or a timeout, until no more are made; >= 1. More than
    /// one, for a single slow answer says little.
    std::uint32_t failures = 5;
    /// How long no call is made; > 0. One call probes the adapter then, and the time doubles whenever that fails too.
    std::chrono::milliseconds cool_down{1'000};
    /// Where the doubling ends: what an adapter that works again may stay unused at most. cool_down to one day.
    std::chrono::milliseconds max_cool_down{60'000};
};

/// How often a store that failed is tried again. The first retry comes after about `backoff`, and each further one
/// after twice the time before it, up to max_backoff; every wait is shortened at random by up to a half, so that what
/// failed together does not come back together.
class retry_options {
public:
    retry_options() = default;

    std::uint32_t attempts = 5;                   ///< the first included; >= 1; 1: no retry
    std::chrono::milliseconds backoff{100};       ///< > 0, at most max_backoff
    std::chrono::milliseconds max_backoff{5'000}; ///< at most one day
    /// How long after it was queued a store is given up whose adapter does nothing but fail; > 0, at most one day.
    std::chrono::milliseconds give_up_after{30'000};
};

/// What happens to a store when the queue of its adapter is full.
enum class full_queue_policy : std::uint8_t {
    /// It is queued all the same: what is queued is locked in L1, whose capacity is then the bound, and where
    /// reserve_write_when_free() waits. While the adapter's breaker is open, as drop_oldest: a dead adapter must not
    /// take L1 from the others.
    wait,
    drop_oldest, ///< the stores that were queued first are dropped for it
    refuse,      ///< it is dropped itself
};

/// How the engine treats one adapter.
class adapter_options {
public:
    adapter_options() = default;

    /// The longest that one call may take before the engine goes on without its answer; > 0. The call itself is asked
    /// to stop, and keeps its buffers until it has.
    std::chrono::milliseconds lookup_timeout{1'000};
    std::chrono::milliseconds load_timeout{10'000};
    std::chrono::milliseconds store_timeout{60'000};
    std::chrono::milliseconds unlock_timeout{10'000};

    /// Store calls that the adapter works on at a time; >= 1. The rest waits in L1, in order.
    std::uint32_t stores_in_flight = 4;
    /// The same while it works on loads, which go first: somebody waits for those. 0: stores wait for all loads.
    std::uint32_t stores_beside_loads = 1;
    std::uint64_t store_window_bytes = 16ULL << 20; ///< of one store call; >= 1. An object larger than that goes alone
    std::uint64_t store_queue_bytes = 0;            ///< waiting for the adapter; 0: a quarter of L1
    full_queue_policy store_queue_full = full_queue_policy::wait;
    retry_options store_retries;

    /// For lookups, loads and stores each: a full disk does not stop reads.
    breaker_options breaker;
};

/// What storage_manager's constructor, and add_adapter(), refuse: std::invalid_argument names the member, its value and
/// what was expected.
TERRACE_API void check(const config& cfg);
TERRACE_API void check(const adapter_options& options);

} // namespace terrace
