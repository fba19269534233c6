#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <terrace/l2_adapter.hpp>

namespace terrace {

/// What a store holds: keys with their sizes, locks and recency, bounded in bytes. A helper for adapter authors.
///
/// Threads: none of its own; the adapter serialises the calls.
class object_index {
public:
    /// capacity_bytes  0: no limit
    explicit object_index(std::uint64_t capacity_bytes = 0);
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
    /// Takes back one lock, if there is one. The last one counts as a use.
    void unlock(const object_key& key);
    void unlock_all() noexcept;
    [[nodiscard]] bool locked(const object_key& key) const;

    /// Marks the key as used just now. To have the tail of a batch evicted before its head, touch from the tail on.
    void touch(const object_key& key);

    /// Takes `bytes` of room, naming the objects that have to go for it: they are out of the index already, and the
    /// adapter deletes their bytes. Nothing, and no change, if locked objects leave too little room.
    ///
    /// The room is then either insert()ed into or given_back().
    [[nodiscard]] std::optional<std::vector<object_key>> make_room(std::uint64_t bytes);
    void give_back(std::uint64_t bytes) noexcept;

    /// The objects that make_room(bytes) would name now; none if it has nothing to remove, or could not help it.
    [[nodiscard]] std::vector<object_key> next_victims(std::uint64_t bytes) const;

    /// Adds the object in room that make_room() took, or replaces it: the bytes of the old one are free then, its locks
    /// stay with the key.
    void insert(const object_key& key, std::uint64_t bytes);

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
