#pragma once

#include <boost/intrusive/list_hook.hpp>
#include <cstdint>
#include <memory>
#include <string_view>

#include <terrace/object_key.hpp>

namespace terrace {

/// What an eviction policy knows of a resident object. Its hook and its mark are the policy's to use.
struct evictable {
    object_key key;
    std::uint64_t bytes = 0;                            ///< memory that evicting it frees
    boost::intrusive::list_member_hook<> eviction_hook; ///< membership in one of the policy's lists
};

/// Decides which resident object leaves first. Pure decisions: no I/O, no clock, no lock of its own.
///
/// Between admit() and forget() an object is resident. acquire() and release() tell when its first reader came and
/// its last one left; a batch is released from its last key to its first, so that a policy that goes by order of
/// release evicts the tail of a prefix chain before its head.
///
/// Threads: called under the lock of the tier that owns it.
class eviction_policy {
public:
    virtual ~eviction_policy() = default;

    virtual void admit(evictable& object) noexcept = 0;   ///< resident, without readers
    virtual void acquire(evictable& object) noexcept = 0; ///< has a reader: not to be evicted
    virtual void release(evictable& object) noexcept = 0; ///< has none left
    virtual void forget(evictable& object) noexcept = 0;  ///< leaves the tier; called with or without readers

    /// The object to evict next, among those without readers; null if there is none. It stays until forget().
    [[nodiscard]] virtual evictable* victim() noexcept = 0;

    /// A policy by its name. Throws std::invalid_argument that lists the names if there is none of this name.
    ///
    ///     lru     least recently released first
    ///     none    nothing is ever evicted
    [[nodiscard]] static std::unique_ptr<eviction_policy> make(std::string_view name);
};

} // namespace terrace
