#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/bitmap.hpp>
#include <terrace/object_key.hpp>

namespace terrace {

class l1_cache;
struct l1_entry;

/// Which keys reserve_write() takes.
enum class write_mode : std::uint8_t {
    new_only, ///< keys that are not resident
    update,   ///< resident keys only: their readers keep the old bytes, readers after the commit get the new ones
    all,      ///< either
};

/// Why one key of a batch was not reserved. A miss is not here: a miss is an answer.
enum class l1_error : std::uint8_t {
    none = 0,
    /// The key is resident and the mode is new_only: read it instead. Nothing was reserved for it.
    already_resident,
    /// The key is not resident and the mode is update. Nothing was reserved for it.
    not_resident,
    /// No room, even after eviction. The keys before this one keep their reservations.
    out_of_memory,
    /// The object is larger than all of L1: it will never fit.
    larger_than_l1,
    /// The storage manager is closed.
    closed,
};

/// The error's name, as the enumerator is spelt.
[[nodiscard]] TERRACE_API std::string_view to_string(l1_error e) noexcept;

/// A batch of staged objects: memory to fill, invisible to every reader until it is committed.
///
/// Destroying the lease discards, unseen, whatever was not committed. Several writers may stage the same key; the
/// first to commit wins, and what the others commit under new_only is dropped in silence.
///
/// Threads: one thread at a time; different leases are independent. commit() and destruction work on any thread.
class TERRACE_API write_lease {
public:
    write_lease() noexcept; ///< holds nothing
    write_lease(write_lease&& from) noexcept;
    write_lease& operator=(write_lease from) noexcept;
    ~write_lease();
    void swap(write_lease& other) noexcept;

    [[nodiscard]] std::size_t size() const noexcept { return slots_.size(); } ///< keys, reserved or not

    /// All three throw std::out_of_range unless i < size(). The bytes of a key that is not ok() are empty.
    [[nodiscard]] l1_error ok(std::size_t i) const { return slots_.at(i).error; }
    [[nodiscard]] const object_key& key(std::size_t i) const { return slots_.at(i).key; }
    [[nodiscard]] std::span<std::byte> bytes(std::size_t i) const;

    /// Which keys were reserved.
    [[nodiscard]] bitmap reserved() const;
    /// How many leading keys were reserved.
    [[nodiscard]] std::size_t leading() const;

    /// Publishes all that were reserved, as one step, and hands them to the store flow. The lease then holds nothing.
    void commit();
    /// Publishes the subset, discards the rest. Throws std::invalid_argument, and changes nothing, unless
    /// filled.size() == size().
    void commit(const bitmap& filled);

private:
    friend class l1_cache; // the only mint

    struct slot {
        object_key key;
        l1_entry* entry = nullptr; // null unless error is none
        l1_error error = l1_error::none;
    };
    write_lease(std::shared_ptr<l1_cache> l1, std::vector<slot> slots, write_mode mode) noexcept;

    std::shared_ptr<l1_cache> l1_;
    std::vector<slot> slots_;
    write_mode mode_ = write_mode::new_only;
};

} // namespace terrace
