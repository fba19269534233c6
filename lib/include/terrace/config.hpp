#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <terrace/clock.hpp>
#include <terrace/eviction_policy.hpp>
#include <terrace/l1_config.hpp>
#include <terrace/prefetch_policy.hpp>
#include <terrace/store_policy.hpp>

namespace terrace {

/// When the background eviction starts and where it stops, as shares of L1's capacity. reserve_write() evicts on demand
/// besides; the background only keeps it from having to.
struct eviction_config {
    std::string policy = "lru";   ///< a name of eviction_policy::make()
    double high_watermark = 0.95; ///< start above this; in (0, 1]; 1 turns the background eviction off
    double low_watermark = 0.90;  ///< stop at this; in [0, high_watermark]
    /// A policy of the user's own, in place of a named one; called once, by the storage manager's constructor.
    std::function<std::unique_ptr<eviction_policy>()> make_policy = {};
};

/// What becomes of an object that is loaded after its request's deadline.
enum class late_load_policy : std::uint8_t {
    admit,   ///< it is retained in L1, unlocked: the next request finds it
    discard, ///< it is dropped
};

/// Everything that can be set on a storage_manager. The constructor checks it whole and names what is wrong.
struct config {
    l1_config l1 = {};
    eviction_config eviction = {};
    std::shared_ptr<const prefetch_policy> prefetch = prefetch_policy::make("default"); ///< or a user's own
    std::shared_ptr<const store_policy> store = store_policy::make("default");          ///< or a user's own

    late_load_policy late_loads = late_load_policy::admit;
    /// How long a prefetch waits for L1 memory that stores in flight hold, before it makes do with what there is; > 0.
    std::chrono::milliseconds prefetch_room_timeout{5'000};

    /// How long close() waits for operations that adapters have in flight; > 0.
    std::chrono::milliseconds close_timeout{30'000};

    /// Null: the machine's steady clock.
    std::shared_ptr<terrace::clock> clock = nullptr;
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

    /// Store batches that the adapter works on at a time; >= 1. The rest waits in L1, in order.
    std::uint32_t stores_in_flight = 4;
};

} // namespace terrace
