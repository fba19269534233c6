#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/bitmap.hpp>
#include <terrace/eviction_policy.hpp>
#include <terrace/l2_adapter.hpp>

namespace terrace {

/// What a store holds: keys with their sizes and locks, bounded in bytes by an eviction policy. A helper for adapter
/// authors.
///
/// Threads: none of its own; the adapter serialises the calls.
class TERRACE_API object_index {
public:
    /// capacity_bytes  0: no limit
    /// policy          what goes when that is reached, and what is over a quota even before; null: lru
    explicit object_index(std::uint64_t capacity_bytes = 0, std::unique_ptr<eviction_policy> policy = nullptr);
    ~object_index();
    object_index(const object_index&) = delete;
    object_index& operator=(const object_index&) = delete;

    [[nodiscard]] std::uint64_t capacity_bytes() const noexcept;
    [[nodiscard]] std::uint64_t used_bytes() const noexcept; ///< objects and room taken for stores under way
    [[nodiscard]] std::size_t objects() const noexcept;
    [[nodiscard]] std::size_t locked_objects() const noexcept; ///< keys that hold a lock

    /// The stored size, or nothing if the key is not there.
    [[nodiscard]] std::optional<std::uint64_t> find(const object_key& key) const;

    /// Locks the key against eviction, once more; false if it is not there.
    bool lock(const object_key& key);
    /// The same for each of them. Bit i: key i is there.
    [[nodiscard]] bitmap lock(std::span<const object_key> keys);
    /// Takes back one lock, if there is one.
    void unlock(const object_key& key);
    void unlock_all() noexcept;
    [[nodiscard]] bool locked(const object_key& key) const;

    /// Somebody asked for the object. To have the tail of a batch evicted before its head, touch from the tail on; the
    /// same goes for unlock() and insert().
    void touch(const object_key& key);
    /// As if the object had come just now, which is no use of it: for a batch that was inserted in any order.
    void make_latest(const object_key& key);

    /// What came of asking for room.
    struct room {
        bool granted = false;
        /// Out of the index already, granted or not: the adapter deletes their bytes.
        std::vector<object_key> evicted;
    };
    /// Takes `bytes` of room, and evicts what has to go for it, or what is over a quota.
    ///
    /// Nothing goes in vain if locked objects leave too little room. A policy that gives fewer victims than there are
    /// unlocked objects may have given some when it turns out that they do not suffice: those are gone all the same.
    ///
    /// Room that was granted is either insert()ed into or given_back().
    [[nodiscard]] room make_room(std::uint64_t bytes);
    void give_back(std::uint64_t bytes) noexcept;

    /// Adds the object in room that make_room() took, or replaces it: the bytes of the old one are free then, its locks
    /// stay with the key.
    ///
    /// content  what the adapter keeps of the object, if anything; let go of with it
    void insert(const object_key& key, std::uint64_t bytes, std::shared_ptr<const void> content = nullptr);
    /// What insert() was given; null if the key is not there.
    [[nodiscard]] std::shared_ptr<const void> content(const object_key& key) const;

    /// An object that will be evicted soon.
    struct candidate {
        object_key key;
        std::uint64_t bytes = 0;
    };
    /// What goes next, in this order, until it is `bytes` together or all that can go: to move it elsewhere in time.
    ///
    /// Asking decides: a policy can name one victim at a time, so it is told that these have gone. They stay in the
    /// index and keep their room, and make_room() evicts them first, in this order. One that is touched, locked or
    /// replaced before comes back, as the policy has it for what went and is wanted again.
    [[nodiscard]] std::vector<candidate> next_victims(std::uint64_t bytes);
    /// What would have to go for make_room(bytes), locked once each: see demotion_source. None if there is room.
    [[nodiscard]] std::vector<candidate> lock_victims(std::uint64_t bytes);

    /// Adds an object that was found in the store, whatever the capacity, or corrects its size. Objects restored later
    /// count as used more recently.
    void restore(const object_key& key, std::uint64_t bytes);

    /// Removes, locked or not; false if it is not there. Its locks stay with the key: each is taken back by whoever
    /// took it, and never by the holder of an older one.
    bool erase(const object_key& key);

    /// The keys by age of their entry, from a position on: see l2_adapter::list. O(log n) for the position.
    /// Throws std::invalid_argument for a cursor that is not from here, or a page of no keys.
    [[nodiscard]] key_page list(const list_cursor& cursor) const;

private:
    struct state;
    std::unique_ptr<state> state_;
};

} // namespace terrace
