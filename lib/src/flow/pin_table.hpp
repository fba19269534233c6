#pragma once

#include "flow/flow_context.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include <terrace/bitmap.hpp>
#include <terrace/clock.hpp>
#include <terrace/object_key.hpp>

namespace terrace {

/// Until when which keys are pinned in L1, and the alarm that unpins them.
///
/// Threads: any, but for construction, destruction and set_alarm(), which are the engine's executor's.
class pin_table {
public:
    /// limit_bytes  that may be pinned
    pin_table(flow_context& context, std::uint64_t limit_bytes);
    ~pin_table();
    pin_table(const pin_table&) = delete;
    pin_table& operator=(const pin_table&) = delete;

    /// storage_manager::pin(); the keys have been checked. True: set_alarm() has to be called on the executor.
    [[nodiscard]] bool pin(std::span<const object_key> keys, clock::time_point until, bitmap& pinned);
    bitmap unpin(std::span<const object_key> keys);
    /// The keys have left L1 by erase().
    void forget(std::span<const object_key> keys);
    void unpin_all();

    void set_alarm();

private:
    using expiries = std::multimap<clock::time_point, object_key>;

    void unpin_due();
    bool forget_one(const object_key& key); // under the mutex

    flow_context& context_;
    const std::uint64_t limit_bytes_;
    std::mutex mutex_; // taken before L1's
    expiries by_time_;
    std::unordered_map<object_key, expiries::iterator> by_key_;
    clock::alarm alarm_;
};

} // namespace terrace
