#pragma once

#include "base/key_table.hpp"
#include "base/slab.hpp"
#include "l1/allocator.hpp"
#include "l1/arena.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include <terrace/bitmap.hpp>
#include <terrace/eviction_policy.hpp>
#include <terrace/l1_config.hpp>
#include <terrace/l1_memory.hpp>
#include <terrace/memory_layout.hpp>
#include <terrace/read_lease.hpp>
#include <terrace/status.hpp>
#include <terrace/write_lease.hpp>

namespace terrace {

/// A layout that objects in L1 have: kept once, however many they are.
struct layout_record {
    memory_layout layout;
    std::uint64_t objects = 0; // of this layout, the one being staged included; with the last the record goes
};

/// Consecutive keys of a batch whose objects have one layout: from where the run before ends up to `end`.
struct layout_run {
    std::size_t end = 0;
    memory_layout layout;
};

/// Whether an object is not stored everywhere it could be, and how it was written.
enum class unstored_as : std::uint8_t { none, written_new, written_over };

/// One object in L1.
///
///     staged ---commit---> resident <---lock / release---> read
///        |                   |                               |
///     discard           evict, erase                 erase: hidden ---last release---> freed
///
/// Staged: in no index, its write_lease owns it. Resident: in the index, and the eviction policy's while nobody reads
/// it. Hidden: out of the index, freed with its last reader.
struct l1_entry : evictable {
    bool temporary : 1 = false;               // freed with its last reader
    bool pinned : 1 = false;                  // one of the locks is protect()'s
    bool resident : 1 = false;                // in the index
    bool overwritten : 1 = false;             // a commit has put other bytes in its place
    unstored_as unstored = unstored_as::none; // what becomes of it once somebody wants it
    std::uint32_t readers = 0;                // locks
    memory_block* memory = nullptr;
    layout_record* layout = nullptr;
};
static_assert(sizeof(l1_entry) + sizeof(memory_block) <=
              136); // with its share of the index, 160 bytes for each object at most

/// So many locks of one object.
struct l1_hold {
    l1_entry* entry = nullptr;
    std::uint32_t locks = 0;
};

/// How L1's memory is taken.
struct l1_room {
    std::uint64_t usable_bytes = 0; // once it has grown, as far as it can for now
    std::uint64_t held_bytes = 0;   // staged or locked; the rest is free, or can be evicted
};

/// How growing L1 went.
struct l1_growth {
    std::uint64_t usable_bytes = 0;      // now
    std::uint32_t failures_in_a_row = 0; // this one included; 0: it has grown
    std::exception_ptr failure;
};

/// What L1 tells the flows. Called after the critical section, on the thread that caused it; nothing may throw.
class l1_listener {
public:
    virtual ~l1_listener() = default;

    /// Objects that a caller committed, locked once each so that they stay until they are stored.
    virtual void on_commit(read_lease fresh, write_mode mode) noexcept = 0;
    /// Objects of offer_when_wanted() that a caller reads or prefetches now, locked once each.
    virtual void on_wanted(read_lease objects, write_mode mode) noexcept = 0;
    /// Memory has become free or evictable since ask_for_room().
    virtual void on_room() noexcept = 0;
    /// More than the high watermark is in use; said once until eviction_done().
    virtual void on_pressure() noexcept = 0;
    /// The policy names objects that have to go even though there is room; said once until evict_overdue() is done.
    virtual void on_overdue() noexcept {}
    /// L1 has grown, or tried to.
    virtual void on_growth([[maybe_unused]] const l1_growth& how) noexcept {}
};

/// The objects of one request that are locked for it, by position in the request. Destroying it releases them.
class l1_pins {
public:
    l1_pins() noexcept = default;
    l1_pins(l1_pins&& from) noexcept { swap(from); }
    l1_pins& operator=(l1_pins from) noexcept
    {
        swap(from);
        return *this;
    }
    ~l1_pins();
    void swap(l1_pins& other) noexcept;

    [[nodiscard]] const bitmap& present() const noexcept { return present_; }

    /// Releases what is not in `wanted`.
    void keep_only(const bitmap& wanted);
    /// Leaves what is held to the eviction policy once nobody reads it, be it temporary.
    void retain();

    /// Turns what is held into a lease, in order of position.
    [[nodiscard]] read_lease into_lease() &&;

private:
    friend class l1_cache; // the only mint
    std::shared_ptr<l1_cache> l1_;
    std::vector<l1_entry*> at_; // by position; null: not held
    bitmap present_;
    std::uint32_t readers_ = 0;
};

/// Who waits for an object that is being loaded, and for which position of its request.
struct l1_claim {
    l1_pins* pins = nullptr;
    std::uint32_t position = 0;
};

/// The memory tier: an arena, what lies in it, and who may read it.
///
/// A reservation that finds no room lets the arena grow, as far as it can, before it evicts: it takes back what it has
/// staged, grows without the mutex, and begins anew. When growing fails for the n-th time in a row, 2^n reservations
/// that find no room (2^16 at most), that one being the first, evict without trying again: a hook that fails is not
/// asked each time.
///
/// Threads   any; one mutex, taken once for each batch. Nothing is called under it but the eviction policy. Growing has
///           a mutex of its own, taken first: whoever else needs more waits for it, the rest goes on.
/// Lifetime  leases and pins share ownership, so that memory outlives whoever may still touch it
class l1_cache : public std::enable_shared_from_this<l1_cache> {
public:
    /// Throws std::system_error if the memory cannot be had.
    l1_cache(const l1_config& cfg, std::unique_ptr<eviction_policy> policy, std::uint64_t high_watermark_bytes);
    ~l1_cache();

    void listen(std::weak_ptr<l1_listener> listener); ///< before anything else; once
    /// Whether on_commit() is wanted: without adapters there is nothing to do for it.
    void offer_commits(bool wanted) noexcept { commits_wanted_ = wanted; }

    /// What a reservation does when memory is short, after it has evicted what it could.
    enum class on_shortage {
        keep_leading, ///< answers with the keys that came before
        give_up,      ///< holds nothing, and answers nothing
    };
    /// What the objects of these runs take.
    [[nodiscard]] std::uint64_t needed_bytes(std::span<const layout_run> layouts) const noexcept;

    /// storage_manager::reserve_write(); the keys have been checked.
    [[nodiscard]] std::optional<write_lease>
    reserve_write(std::span<const object_key> keys, const memory_layout& layout, write_mode mode, on_shortage shortage);
    /// Stages memory for objects that are to be loaded; the runs cover the keys.
    [[nodiscard]] std::optional<write_lease> stage_for_load(std::span<const object_key> keys,
                                                            std::span<const layout_run> layouts, on_shortage shortage);

    /// Divides a lease: key i goes into part part_of[i], in order; with a number that is no part's it is discarded.
    [[nodiscard]] static std::vector<write_lease> split(write_lease from, std::size_t parts,
                                                        std::span<const std::uint32_t> part_of);

    /// storage_manager::read(); the keys have been checked.
    [[nodiscard]] read_lease read(std::span<const object_key> keys, std::uint32_t readers);
    /// Tells the policy that somebody wants the objects, from the last key to the first; which of them are resident.
    bitmap touch(std::span<const object_key> keys);
    /// Locks every key that is resident under its layout; the runs cover the keys.
    [[nodiscard]] l1_pins pin(std::span<const object_key> keys, std::span<const layout_run> layouts,
                              std::uint32_t readers);
    /// Locks those of `which` that are resident by now, besides what is pinned already.
    void pin(l1_pins& pins, std::span<const object_key> keys, std::span<const layout_run> layouts, const bitmap& which);
    /// A lease of its own, one lock each, on the first `positions` positions of what is pinned.
    [[nodiscard]] read_lease share(const l1_pins& pins, std::size_t positions);
    /// The same on a lease of the keys of a request that are set in `found`.
    [[nodiscard]] read_lease share(const read_lease& held, const bitmap& found, std::size_t positions);
    /// The layout of an object that a lease holds.
    [[nodiscard]] const memory_layout& layout(const read_lease& held, std::size_t i) const
    {
        return held.held_.at(i)->layout->layout;
    }
    /// What the objects that a lease holds take.
    [[nodiscard]] std::uint64_t room_of(const read_lease& held) const noexcept;
    /// A lease of its own, one lock each, on some of what another holds.
    [[nodiscard]] read_lease share(const read_lease& held, const bitmap& which);

    /// Which of what is held a later commit has taken the place of.
    [[nodiscard]] bitmap overwritten(const read_lease& held) const;

    /// on_wanted() will be called for these of what is held, once a caller locks them.
    void offer_when_wanted(const read_lease& held, const bitmap& which, write_mode written);

    /// What becomes of staged objects now that their load has ended, by index in the lease.
    struct landing {
        bitmap loaded;                     // the others are discarded unseen
        bitmap retained;                   // the others are temporary
        bool keep_unclaimed = false;       // what nobody claims is retained, not discarded
        std::vector<l1_claim> claims;      // those of the first object, then those of the second, ...
        std::vector<std::uint32_t> ends{}; // of each object's claims
    };
    /// finish_write_and_reserve_read: publishes what was loaded and locks it for whoever claims it, be it ours or a
    /// copy that became resident meanwhile. One step, of which the store flow hears nothing.
    void land(write_lease staged, const landing& how);

    /// Locks what is resident of these, once however often it is called, until unprotect(), erase() or a clear by
    /// force. What replaces a protected object is protected in its place. Bit i: key i is protected; clear: it is not
    /// resident, or more than `limit_bytes` would be.
    bitmap protect(std::span<const object_key> keys, std::uint64_t limit_bytes);
    void unprotect(std::span<const object_key> keys);

    bitmap erase(std::span<const object_key> keys);
    /// Erases what `held` has of these objects, unless they have been replaced meanwhile or are protected.
    void erase_held(const read_lease& held, const bitmap& which);
    std::size_t clear(clear_mode mode);

    /// Evicts until at most `target_bytes` are used, nothing is evictable or `most` objects have gone. False if more
    /// is left to do.
    bool evict_down_to(std::uint64_t target_bytes, std::size_t most);
    void eviction_done() noexcept { under_pressure_ = false; }
    /// Evicts what has to go whether or not there is room, at most `most` objects. False if more is left to do.
    bool evict_overdue(std::size_t most);

    /// Leaves so much of what is free or evictable to whoever takes the promise back, by promise(0), and reserves then.
    void promise(std::uint64_t bytes) noexcept { promised_bytes_ = bytes; }
    /// on_room() will be called for whatever becomes free or evictable from now on, once.
    void ask_for_room() noexcept { room_wanted_ = true; }
    [[nodiscard]] l1_room room() const;

    /// Refuses reservations and discards commits from now on.
    void close();

    [[nodiscard]] l1_status status() const;
    /// Once it has grown as far as it can.
    [[nodiscard]] std::uint64_t capacity_bytes() const noexcept { return capacity_; }
    /// What of it has grown: from the start on.
    [[nodiscard]] std::span<std::byte> usable_memory() const;
    [[nodiscard]] l1_memory memory() const noexcept { return {{arena_.data(), arena_.size_bytes()}, arena_.fd()}; }
    /// eviction_policy::usage().
    [[nodiscard]] std::vector<salt_usage> usage_by_salt() const;
    /// What one object of this size takes; of one that is larger than L1, no more than shows that it is.
    [[nodiscard]] std::uint64_t rounded(std::uint64_t bytes) const noexcept
    {
        return allocator_.rounded(std::min(bytes, capacity_ + 1));
    }

    /// Counts everything anew and compares; the first fact that does not hold asserts.
    void check() const;

private:
    friend class read_lease;
    friend class write_lease;
    friend class l1_pins;
    friend class key_ledger;
    using slot = write_lease::slot;
    static constexpr std::size_t fetched_ahead = 8; // objects, into the processor's cache

    template <class BytesNeeded, class Stage>
    [[nodiscard]] std::optional<write_lease> reserve(std::span<const object_key> keys, write_mode mode,
                                                     on_shortage shortage, BytesNeeded&& bytes_needed,
                                                     Stage&& stage_one);

    /// Under the mutex. Returns the bytes that the batch lacks as long as L1 may grow, and nothing is staged then; else
    /// 0. A batch that gives up has no slots afterwards.
    template <class BytesNeeded, class Stage>
    [[nodiscard]] std::uint64_t stage_batch(std::vector<slot>& slots, std::span<const object_key> keys,
                                            on_shortage shortage, BytesNeeded&& bytes_needed, Stage&& stage_one);
    /// Makes L1 larger by at least `bytes`, or as large as it gets, unless another thread has changed grown_bytes or
    /// failed to meanwhile: the caller looks again in any case. A failure is counted. Not under the mutex.
    void grow(std::uint64_t bytes, std::uint64_t grown_bytes);
    std::uint64_t add_slice(); // under growth_mutex_ alone

    // Calls of the leases.
    [[nodiscard]] std::span<std::byte> bytes(const l1_entry& entry) const noexcept
    {
        return {arena_.data() + entry.memory->offset, entry.bytes};
    }
    void commit(std::vector<slot>& slots, write_mode mode, const bitmap* filled);
    void discard(std::vector<slot> slots) noexcept;
    void release(std::vector<l1_entry*> held, std::uint32_t readers) noexcept;
    void release(std::span<const l1_hold> held) noexcept;
    [[nodiscard]] bool minted(const read_lease& lease) const noexcept { return lease.l1_.get() == this; }
    /// Empties a lease without releasing: lease.readers() locks of each object are now the caller's.
    [[nodiscard]] static std::vector<l1_entry*> disown(read_lease& lease) noexcept;
    [[nodiscard]] static read_lease to_lease(l1_pins pins);
    void retain(std::span<l1_entry* const> held);

    /// Unstored objects that somebody wants, each locked for the store flow.
    struct wanted_objects {
        std::vector<l1_entry*> written_new;
        std::vector<l1_entry*> written_over;
    };

    // Under the mutex.
    [[nodiscard]] l1_entry* find(const object_key& key) const noexcept { return index_.find(key); }
    /// What the object takes of the arena: its memory_block need not be looked at.
    [[nodiscard]] std::uint64_t room_of(const l1_entry& entry) const noexcept
    {
        return allocator_.rounded(entry.bytes);
    }
    [[nodiscard]] layout_record& record(const memory_layout& layout);
    void drop_use(layout_record& record) noexcept;
    [[nodiscard]] bool may_grow() const noexcept
    {
        return allocator_.capacity_bytes() < capacity_ && growth_pause_ == 0;
    }
    [[nodiscard]] l1_room room_now() const noexcept
    {
        return {may_grow() ? capacity_ : allocator_.capacity_bytes(), counts_.staged_bytes + counts_.locked_bytes};
    }
    /// What could be had at most, if L1 grew and everything that nobody holds were evicted.
    [[nodiscard]] std::uint64_t room_after_eviction() const noexcept
    {
        const l1_room now = room_now();
        return now.usable_bytes - now.held_bytes;
    }
    [[nodiscard]] l1_error stage(slot& s, const memory_layout& layout, bool temporary);
    void publish(l1_entry& entry);
    void hide(l1_entry& entry) noexcept;
    void free(l1_entry& entry) noexcept;
    void unstage(l1_entry& entry) noexcept;
    void discard(l1_entry& entry) noexcept; // and counts it
    void set_pin(l1_entry& entry);
    void drop_pin(l1_entry& entry);
    void lock(l1_entry& entry, std::uint32_t readers) noexcept;
    void unlock(l1_entry& entry, std::uint32_t readers);
    [[nodiscard]] wanted_objects pin_resident(l1_pins& pins, std::span<const object_key> keys,
                                              std::span<const layout_run> layouts, const bitmap& which);
    /// Locks for the store flow what of these is unstored, which it then no longer is.
    [[nodiscard]] wanted_objects take_unstored(std::span<l1_entry* const> wanted);
    bool evict_one() noexcept;
    void evict(evictable& object) noexcept;
    void note_shortage() noexcept; ///< a reservation found no room, and did not try to grow
    /// Keeps the peak; true if the use is above the high watermark.
    [[nodiscard]] bool note_use() noexcept;
    /// Whether on_overdue() is to be called.
    [[nodiscard]] bool note_overdue() noexcept;

    /// What has to be told to the listener once the mutex is free.
    void tell_wanted(wanted_objects wanted) noexcept;
    void tell_room() noexcept;
    void tell_pressure(bool pressed) noexcept;
    void tell_overdue(bool overdue) noexcept;
    void tell_growth(const l1_growth& how) noexcept;

    arena arena_; // grows under growth_mutex_
    const std::uint64_t capacity_;
    const std::uint64_t high_watermark_;
    std::weak_ptr<l1_listener> listener_;

    std::mutex growth_mutex_;          // taken before mutex_
    std::span<std::byte> spare_slice_; // the arena has it, but there was no memory for the allocator's record of it

    mutable std::mutex mutex_;
    allocator allocator_;
    slab<l1_entry> entries_;
    std::unordered_map<std::uint64_t, layout_record> layouts_; // by fingerprint
    key_table<l1_entry> index_;                                // of what is resident
    std::unique_ptr<eviction_policy> policy_;
    std::vector<std::vector<l1_entry*>> spare_held_; // so that a lease on a hit allocates nothing
    l1_status counts_;                               // all but what the allocator knows
    bool closed_ = false;
    std::uint32_t growth_failures_in_a_row_ = 0;
    std::uint32_t growth_pause_ = 0; // so many shortages are met without trying to grow
    bool overdue_told_ = false;

    std::atomic<std::uint64_t> promised_bytes_ = 0;
    std::atomic<bool> commits_wanted_ = false;
    std::atomic<bool> room_wanted_ = false;
    std::atomic<bool> under_pressure_ = false;
};

} // namespace terrace
