#pragma once

#include "l1/l1_cache.hpp"

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <utility>

#include <terrace/object_key.hpp>
#include <terrace/read_lease.hpp>

namespace terrace {

/// Read locks for callers that count them by key, and cannot keep a lease: those at the other end of a wire.
///
/// Destroying it releases what it holds. An object that was replaced while it was held is another object under the same
/// key: both count, and the older is released first.
///
/// Threads: any.
class key_ledger {
public:
    /// l1  whose leases it keeps
    explicit key_ledger(std::shared_ptr<l1_cache> l1) : l1_{std::move(l1)} {}
    ~key_ledger() { release_all(); }
    key_ledger(const key_ledger&) = delete;
    key_ledger& operator=(const key_ledger&) = delete;

    /// Takes over every lock of the lease; L1 does not hear of it.
    /// Throws std::invalid_argument if it is a lease on another L1, which is then released.
    void keep(read_lease lease);

    /// Releases `locks` locks of each key. Throws std::invalid_argument, having changed nothing, for 0 locks, an empty
    /// key, a key that stands twice, and more locks of a key than are held.
    void finish_read(std::span<const object_key> keys, std::uint32_t locks);

    void release_all() noexcept;

    /// The locks of this key.
    [[nodiscard]] std::uint64_t held(const object_key& key) const;

private:
    using holds = boost::container::small_vector<l1_hold, 1>; // the oldest first

    [[nodiscard]] static std::uint64_t locks(const holds& of) noexcept;
    static void add(holds& to, const l1_hold& more);

    const std::shared_ptr<l1_cache> l1_;
    mutable std::mutex mutex_;
    std::unordered_map<object_key, holds> held_;
};

} // namespace terrace
