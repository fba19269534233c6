#pragma once

#include <boost/intrusive/list_hook.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/object_key.hpp>
#include <terrace/quota_table.hpp>

namespace terrace {

/// What an eviction policy knows of a resident object. Its hook and its marks are the policy's to use.
struct evictable {
    object_key key;
    std::uint64_t bytes = 0;                            ///< its size; constant while it is resident
    boost::intrusive::list_member_hook<> eviction_hook; ///< membership in one of the policy's lists
    std::uint16_t eviction_marks = 0;                   ///< 0 when it is admitted
};

/// What one tenant takes up in a tier.
struct salt_usage {
    std::string_view salt;                    ///< valid for as long as the process lives
    std::uint64_t used_bytes = 0;             ///< of objects, as their layouts have it
    std::uint64_t kept_bytes = 0;             ///< of which nobody has locked: what the quota bounds
    std::optional<std::uint64_t> quota_bytes; ///< none: no limit
};

/// Decides which resident object leaves first. Pure decisions: no I/O, no clock, no lock of its own.
///
/// Between admit() and forget() an object is resident. touch() says that somebody wanted it. acquire() and release()
/// say when its first lock came and its last one went, be it a reader's or that of a store under way: locked, it may
/// not be evicted, which tells nothing of its worth. A batch is admitted, touched and released from its last key to its
/// first, so that a policy that goes by order evicts the tail of a prefix chain before its head.
///
/// Threads: called under the lock of the tier that owns it.
class TERRACE_API eviction_policy {
public:
    virtual ~eviction_policy() = default;

    virtual void admit(evictable& object) noexcept = 0;   ///< resident, without locks
    virtual void acquire(evictable& object) noexcept = 0; ///< locked: not to be evicted
    virtual void release(evictable& object) noexcept = 0; ///< locked no more
    virtual void forget(evictable& object) noexcept = 0;  ///< leaves the tier; called with or without locks

    /// Somebody asked for the object, which was resident; called with or without locks.
    virtual void touch([[maybe_unused]] evictable& object) noexcept {}

    /// The object to evict next, among those without locks; null if there is none. It stays until forget().
    [[nodiscard]] virtual evictable* victim() noexcept = 0;

    /// An object that has to go now, even if there is room; null if there is none, as for a policy without quotas. It
    /// is the next victim() as well.
    [[nodiscard]] virtual evictable* overdue() noexcept { return nullptr; }

    /// Every tenant that has objects, in a policy that tells them apart; otherwise nothing.
    [[nodiscard]] virtual std::vector<salt_usage> usage() const { return {}; }

    /// A policy by its name. Throws std::invalid_argument that lists the names if there is none of this name.
    ///
    ///     lru           least recently touched or released first
    ///     s3fifo        first in, first out, but for what is wanted again: what is wanted once does not push out what
    ///                   is wanted often
    ///     isolated_lru  of the tenant (cache salt) that is most over its quota, or else takes most, what it used least
    ///                   recently; so one tenant's flood does not push out the others
    ///     none          nothing is ever evicted
    ///
    /// quotas  of isolated_lru, the others pass them over; null: there are none
    [[nodiscard]] static std::unique_ptr<eviction_policy> make(std::string_view name,
                                                               std::shared_ptr<const quota_table> quotas = nullptr);
};

} // namespace terrace
