#include "l1/l1_cache.hpp"

#include "base/assert.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define TERRACE_POISONS_FREED_MEMORY
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TERRACE_POISONS_FREED_MEMORY
#endif
#endif
#ifdef TERRACE_POISONS_FREED_MEMORY
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, size) void()
#define ASAN_UNPOISON_MEMORY_REGION(data, size) void()
#endif

namespace terrace {
namespace {

constexpr std::size_t fetched_ahead = 8; // objects, into the processor's cache
constexpr std::size_t spare_vectors = 64;
constexpr std::size_t spare_capacity = 4096;       // entries; larger ones go back to the heap
constexpr std::uint32_t longest_growth_pause = 16; // as a power of two, in shortages

} // namespace

l1_cache::l1_cache(const l1_config& cfg, std::unique_ptr<eviction_policy> policy, std::uint64_t high_watermark_bytes)
    : arena_{cfg},
      capacity_{arena_.size_bytes() / cfg.alignment_bytes * cfg.alignment_bytes},
      high_watermark_{high_watermark_bytes},
      allocator_{arena_.grown_bytes(), cfg.alignment_bytes},
      policy_{std::move(policy)}
{
    spare_held_.reserve(spare_vectors);
    counts_.capacity_bytes = capacity_;
    counts_.reserved_huge_page_bytes = arena_.reserved_huge_page_bytes();
    ASAN_POISON_MEMORY_REGION(arena_.data(), arena_.grown_bytes());
}

l1_cache::~l1_cache()
{
    TERRACE_ASSERT(counts_.locks == 0); // leases own the cache
    TERRACE_ASSERT(counts_.staged_objects == 0);
    index_.for_each([this](l1_entry& entry) {
        index_.erase(entry);
        policy_->forget(entry);
        free(entry);
    });
    ASAN_UNPOISON_MEMORY_REGION(arena_.data(), arena_.grown_bytes());
}

void l1_cache::listen(std::weak_ptr<l1_listener> listener)
{
    listener_ = std::move(listener);
}

// ---- under the mutex -------------------------------------------------------------------------------------------

layout_record& l1_cache::record(const memory_layout& layout)
{
    auto [it, fresh] = layouts_.try_emplace(layout.fingerprint());
    if (fresh)
        it->second.layout = layout;
    return it->second;
}

void l1_cache::drop_use(layout_record& record) noexcept
{
    if (--record.objects == 0)
        layouts_.erase(record.layout.fingerprint());
}

l1_error l1_cache::stage(slot& s, const memory_layout& layout, bool temporary)
{
    if (closed_)
        return l1_error::closed;
    const std::uint64_t needed = allocator_.rounded(layout.size_bytes());
    if (needed > capacity_)
        return l1_error::larger_than_l1;
    if (const std::uint64_t promised = promised_bytes_; promised != 0 && promised + needed > room_after_eviction())
        return l1_error::out_of_memory;
    layout_record& of = record(layout);
    ++of.objects; // now, since evicting the last other object of this layout must not take the record along
    memory_block* memory = allocator_.allocate(needed);
    const bool by_evicting = !may_grow() && needed <= allocator_.capacity_bytes();
    while (memory == nullptr && by_evicting && evict_one())
        memory = allocator_.allocate(needed);
    if (memory == nullptr) {
        drop_use(of);
        return l1_error::out_of_memory;
    }
    try {
        index_.reserve(counts_.staged_objects + 1);
        s.entry = &entries_.make();
    } catch (...) {
        allocator_.free(*memory);
        drop_use(of);
        throw;
    }
    l1_entry& entry = *s.entry;
    entry.key = s.key;
    entry.bytes = layout.size_bytes();
    entry.memory = memory;
    entry.layout = &of;
    entry.temporary = temporary;
    ++counts_.staged_objects;
    counts_.staged_bytes += room_of(entry);
    ASAN_UNPOISON_MEMORY_REGION(bytes(entry).data(), entry.bytes);
    return l1_error::none;
}

void l1_cache::publish(l1_entry& entry)
{
    policy_->admit(entry);
    index_.insert(entry); // stage() has made room for it
    entry.resident = true;
    --counts_.staged_objects;
    counts_.staged_bytes -= room_of(entry);
    ++counts_.resident_objects;
}

void l1_cache::hide(l1_entry& entry) noexcept
{
    policy_->forget(entry);
    index_.erase(entry);
    entry.resident = false;
    --counts_.resident_objects;
    if (entry.pinned)
        drop_pin(entry); // and frees it, if that was the last lock
    else if (entry.readers == 0)
        free(entry);
}

void l1_cache::set_pin(l1_entry& entry)
{
    entry.pinned = true;
    ++counts_.pinned_objects;
    counts_.pinned_bytes += room_of(entry);
    lock(entry, 1);
}

void l1_cache::drop_pin(l1_entry& entry)
{
    entry.pinned = false;
    --counts_.pinned_objects;
    counts_.pinned_bytes -= room_of(entry);
    unlock(entry, 1);
}

void l1_cache::free(l1_entry& entry) noexcept
{
    TERRACE_ASSERT(entry.readers == 0);
    ASAN_POISON_MEMORY_REGION(bytes(entry).data(), entry.bytes);
    allocator_.free(*entry.memory);
    drop_use(*entry.layout);
    entries_.destroy(entry);
}

void l1_cache::unstage(l1_entry& entry) noexcept
{
    TERRACE_ASSERT(!entry.resident); // what readers can see is never taken back
    --counts_.staged_objects;
    counts_.staged_bytes -= room_of(entry);
    free(entry);
}

void l1_cache::discard(l1_entry& entry) noexcept
{
    ++counts_.discarded_objects;
    unstage(entry);
}

void l1_cache::lock(l1_entry& entry, std::uint32_t readers) noexcept
{
    if (entry.readers == 0) {
        if (entry.resident)
            policy_->acquire(entry);
        ++counts_.locked_objects;
        counts_.locked_bytes += room_of(entry);
    }
    entry.readers += readers;
    counts_.locks += readers;
}

void l1_cache::unlock(l1_entry& entry, std::uint32_t readers)
{
    TERRACE_ASSERT(entry.readers >= readers);
    entry.readers -= readers;
    counts_.locks -= readers;
    if (entry.readers != 0)
        return;
    --counts_.locked_objects;
    counts_.locked_bytes -= room_of(entry);
    if (!entry.resident)
        free(entry); // hidden meanwhile
    else if (entry.temporary)
        hide(entry);
    else
        policy_->release(entry);
}

bool l1_cache::evict_one() noexcept
{
    evictable* victim = policy_->victim();
    if (victim != nullptr)
        evict(*victim);
    return victim != nullptr;
}

void l1_cache::evict(evictable& object) noexcept
{
    auto& entry = static_cast<l1_entry&>(object);
    TERRACE_ASSERT(entry.readers == 0);
    hide(entry);
    ++counts_.evicted_objects;
}

void l1_cache::note_shortage() noexcept
{
    if (growth_pause_ != 0)
        --growth_pause_;
}

bool l1_cache::note_use() noexcept
{
    counts_.peak_used_bytes = std::max(counts_.peak_used_bytes, allocator_.used_bytes());
    return allocator_.used_bytes() > high_watermark_;
}

bool l1_cache::note_overdue() noexcept
{
    return !overdue_told_ && (overdue_told_ = policy_->overdue() != nullptr);
}

// ---- reserving and committing ----------------------------------------------------------------------------------

template <class BytesNeeded, class Stage>
std::optional<write_lease> l1_cache::reserve(std::span<const object_key> keys, write_mode mode, on_shortage shortage,
                                             BytesNeeded&& bytes_needed, Stage&& stage_one)
{
    std::optional<write_lease> lease{write_lease{shared_from_this(), std::vector<slot>(keys.size()), mode}};
    bool pressed = false;
    for (bool staged = false; !staged;) {
        std::uint64_t lacking = 0;
        std::uint64_t grown = 0;
        {
            std::scoped_lock guard{mutex_};
            // Nothing is evicted for a batch that will not fit all the same.
            if (shortage == on_shortage::give_up && bytes_needed() > room_after_eviction()) {
                ++counts_.out_of_memory;
                note_shortage();
                lease->slots_.clear(); // its end would be taken for room that somebody has made
                return std::nullopt;
            }
            lacking = stage_batch(lease->slots_, keys, shortage, bytes_needed, stage_one);
            staged = lacking == 0;
            grown = allocator_.capacity_bytes();
            pressed = staged && note_use();
        }
        if (!staged)
            grow(lacking, grown);
    }
    tell_pressure(pressed);
    if (lease->slots_.size() != keys.size())
        lease.reset();
    return lease;
}

template <class BytesNeeded, class Stage>
std::uint64_t l1_cache::stage_batch(std::vector<slot>& slots, std::span<const object_key> keys, on_shortage shortage,
                                    BytesNeeded&& bytes_needed, Stage&& stage_one)
{
    const std::uint64_t staged_before = counts_.staged_bytes;
    const std::uint64_t evicted_before = counts_.evicted_objects;
    const auto take_back = [&] {
        for (slot& s : slots)
            if (s.entry != nullptr)
                unstage(*std::exchange(s.entry, nullptr));
    };
    bool short_of_room = false;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        slot& s = slots[i];
        s.key = keys[i];
        s.error = short_of_room ? l1_error::out_of_memory : stage_one(s, i);
        if (s.error != l1_error::out_of_memory)
            continue;
        if (may_grow()) {
            const std::uint64_t lacking = bytes_needed() - (counts_.staged_bytes - staged_before);
            take_back();
            return lacking;
        }
        ++counts_.out_of_memory;
        short_of_room = true;
        if (shortage == on_shortage::give_up) {
            take_back();
            slots.clear();
            break;
        }
    }
    if (short_of_room || counts_.evicted_objects != evicted_before)
        note_shortage();
    return 0;
}

void l1_cache::grow(std::uint64_t bytes, std::uint64_t grown_bytes)
{
    std::uint64_t added = 0;
    l1_growth how;
    {
        std::scoped_lock one_at_a_time{growth_mutex_};
        {
            std::scoped_lock guard{mutex_};
            if (allocator_.capacity_bytes() != grown_bytes || !may_grow())
                return;
        }
        try {
            while (added < bytes && !(arena_.full() && spare_slice_.empty()))
                added += add_slice();
        } catch (...) { // of whatever kind: L1 goes on with what it has
            how.failure = std::current_exception();
        }
        const bool failed = how.failure != nullptr;
        std::scoped_lock guard{mutex_};
        counts_.growth_failures += failed;
        growth_failures_in_a_row_ = failed ? growth_failures_in_a_row_ + 1 : 0;
        growth_pause_ = failed ? 1U << std::min(growth_failures_in_a_row_, longest_growth_pause) : 0;
        how.failures_in_a_row = growth_failures_in_a_row_;
        how.usable_bytes = allocator_.capacity_bytes();
    }
    tell_growth(how);
    if (added != 0)
        tell_room();
}

std::uint64_t l1_cache::add_slice()
{
    if (spare_slice_.empty()) {
        spare_slice_ = arena_.grow();
        ASAN_POISON_MEMORY_REGION(spare_slice_.data(), spare_slice_.size());
    }
    std::scoped_lock guard{mutex_};
    allocator_.grow(spare_slice_.size());
    counts_.reserved_huge_page_bytes = arena_.reserved_huge_page_bytes();
    return std::exchange(spare_slice_, {}).size();
}

std::optional<write_lease> l1_cache::reserve_write(std::span<const object_key> keys, const memory_layout& layout,
                                                   write_mode mode, on_shortage shortage)
{
    const auto refusal = [&](const object_key& key) {
        if (closed_)
            return l1_error::closed;
        const bool resident = mode != write_mode::all && find(key) != nullptr;
        if (mode == write_mode::new_only && resident)
            return l1_error::already_resident;
        return mode == write_mode::update && !resident ? l1_error::not_resident : l1_error::none;
    };
    const auto needed = [&] {
        const auto staged =
            std::ranges::count_if(keys, [&](const object_key& key) { return refusal(key) == l1_error::none; });
        return static_cast<std::uint64_t>(staged) * allocator_.rounded(layout.size_bytes());
    };
    return reserve(keys, mode, shortage, needed, [&](slot& s, std::size_t i) {
        index_.prefetch(keys[std::min(i + fetched_ahead, keys.size() - 1)]);
        const l1_error refused = refusal(s.key);
        return refused == l1_error::none ? stage(s, layout, false) : refused;
    });
}

std::optional<write_lease> l1_cache::stage_for_load(std::span<const object_key> keys,
                                                    std::span<const layout_run> layouts, on_shortage shortage)
{
    const auto needed = [&] {
        std::uint64_t bytes = 0;
        std::size_t begin = 0;
        for (const layout_run& run : layouts)
            bytes += (run.end - std::exchange(begin, run.end)) * allocator_.rounded(run.layout.size_bytes());
        return bytes;
    };
    return reserve(keys, write_mode::new_only, shortage, needed,
                   [&, run = layouts.begin()](slot& s, std::size_t i) mutable {
                       if (i == 0) // the first time, and again once L1 has grown
                           run = layouts.begin();
                       while (i >= run->end)
                           ++run;
                       return stage(s, run->layout, true);
                   });
}

write_lease l1_cache::extract(write_lease& from, const bitmap& which)
{
    std::vector<slot> taken;
    std::vector<slot> left;
    taken.reserve(from.slots_.size());
    left.reserve(from.slots_.size());
    for (std::size_t i = 0; i < from.slots_.size(); ++i)
        (which.test(i) ? taken : left).push_back(from.slots_[i]);
    from.slots_ = std::move(left);
    return {from.l1_, std::move(taken), from.mode_};
}

void l1_cache::commit(std::vector<slot>& slots, write_mode mode, const bitmap* filled)
{
    std::vector<l1_entry*> published;
    published.reserve(slots.size());
    bool pressed = false;
    bool overdue = false;
    {
        std::scoped_lock guard{mutex_};
        const bool store = commits_wanted_ && !closed_;
        // From the last to the first, so that a chain's tail is evicted before its head.
        for (std::size_t i = slots.size(); i-- > 0;) {
            if (i >= fetched_ahead)
                index_.prefetch(slots[i - fetched_ahead].key);
            l1_entry* entry = std::exchange(slots[i].entry, nullptr);
            if (entry == nullptr)
                continue;
            l1_entry* resident = find(entry->key);
            if (closed_ || (filled != nullptr && !filled->test(i)) ||
                (resident != nullptr && mode == write_mode::new_only)) {
                discard(*entry);
                continue;
            }
            const bool pinned = resident != nullptr && resident->pinned;
            if (resident != nullptr)
                hide(*resident); // its readers keep it
            publish(*entry);
            if (pinned)
                set_pin(*entry);
            ++counts_.committed_objects;
            if (store) {
                lock(*entry, 1);
                published.push_back(entry);
            }
        }
        pressed = note_use();
        overdue = note_overdue();
    }
    if (!published.empty()) {
        std::ranges::reverse(published);
        read_lease fresh{shared_from_this(), std::move(published), 1};
        if (auto listener = listener_.lock())
            listener->on_commit(std::move(fresh), mode);
    }
    tell_room();
    tell_pressure(pressed);
    tell_overdue(overdue);
}

void l1_cache::discard(std::vector<slot> slots) noexcept
{
    {
        std::scoped_lock guard{mutex_};
        for (slot& s : slots)
            if (s.entry != nullptr)
                discard(*s.entry);
    }
    tell_room();
}

void l1_cache::land(write_lease staged, const landing& how)
{
    auto& slots = staged.slots_; // what is left in it when this throws is discarded with the lease
    bool pressed = false;
    bool overdue = false;
    {
        std::scoped_lock guard{mutex_};
        for (std::size_t i = slots.size(); i-- > 0;) {
            l1_entry* entry = std::exchange(slots[i].entry, nullptr);
            if (entry == nullptr)
                continue;
            const std::span claims{how.claims.data() + (i == 0 ? 0 : how.ends[i - 1]), how.claims.data() + how.ends[i]};
            const bool keep = how.loaded.test(i) && !closed_;
            entry->temporary = !how.retained.test(i) && !(claims.empty() && how.keep_unclaimed);
            l1_entry* resident = keep ? find(entry->key) : nullptr;
            if (!keep || resident != nullptr || (claims.empty() && entry->temporary)) {
                const bool same = resident != nullptr && resident->layout == entry->layout;
                discard(*entry);
                entry = same ? resident : nullptr;
            } else {
                publish(*entry);
            }
            if (entry == nullptr)
                continue;
            for (const l1_claim& claim : claims) {
                lock(*entry, claim.pins->readers_);
                if (entry == resident) // our own copy is new: that it came is all that this request says of it
                    policy_->touch(*entry);
                claim.pins->at_[claim.position] = entry;
                claim.pins->present_.set(claim.position);
            }
        }
        pressed = note_use();
        overdue = note_overdue();
    }
    tell_room();
    tell_pressure(pressed);
    tell_overdue(overdue);
}

// ---- reading ---------------------------------------------------------------------------------------------------

read_lease l1_cache::read(std::span<const object_key> keys, std::uint32_t readers)
{
    std::vector<l1_entry*> held;
    wanted_objects wanted;
    {
        std::scoped_lock guard{mutex_};
        if (!spare_held_.empty()) {
            held = std::move(spare_held_.back());
            spare_held_.pop_back();
        }
        held.reserve(keys.size()); // what may throw comes before the locks
        bool unstored = false;
        index_.find_each(keys, [&](std::size_t, l1_entry* entry) {
            if (entry == nullptr || closed_)
                return false;
            held.push_back(entry);
            lock(*entry, readers);
            policy_->touch(*entry);
            unstored = unstored || entry->unstored != unstored_as::none;
            return true;
        });
        if (unstored)
            wanted = take_unstored(held);
    }
    tell_wanted(std::move(wanted));
    return {shared_from_this(), std::move(held), readers};
}

bitmap l1_cache::touch(std::span<const object_key> keys)
{
    bitmap resident{keys.size()};
    std::scoped_lock guard{mutex_};
    for (std::size_t i = keys.size(); i-- > 0;)
        if (l1_entry* entry = find(keys[i])) {
            policy_->touch(*entry);
            resident.set(i);
        }
    return resident;
}

l1_pins l1_cache::pin(std::span<const object_key> keys, std::span<const layout_run> layouts, std::uint32_t readers)
{
    l1_pins pins;
    pins.readers_ = readers;
    pins.present_ = bitmap{keys.size()};
    pins.l1_ = shared_from_this();
    wanted_objects wanted;
    {
        std::scoped_lock guard{mutex_};
        if (!spare_held_.empty()) {
            pins.at_ = std::move(spare_held_.back());
            spare_held_.pop_back();
        }
        pins.at_.resize(keys.size());
        wanted = pin_resident(pins, keys, layouts, bitmap{keys.size(), true});
    }
    tell_wanted(std::move(wanted));
    return pins;
}

void l1_cache::pin(l1_pins& pins, std::span<const object_key> keys, std::span<const layout_run> layouts,
                   const bitmap& which)
{
    wanted_objects wanted;
    {
        std::scoped_lock guard{mutex_};
        wanted = pin_resident(pins, keys, layouts, which);
    }
    tell_wanted(std::move(wanted));
}

l1_cache::wanted_objects l1_cache::pin_resident(l1_pins& pins, std::span<const object_key> keys,
                                                std::span<const layout_run> layouts, const bitmap& which)
{
    bool unstored = false;
    auto run = layouts.begin();
    const auto pin_one = [&](std::size_t i, l1_entry* entry) {
        while (i >= run->end)
            ++run;
        if (closed_ || pins.at_[i] != nullptr || entry == nullptr || entry->layout->layout != run->layout)
            return true;
        lock(*entry, pins.readers_);
        policy_->touch(*entry);
        pins.at_[i] = entry;
        pins.present_.set(i);
        unstored = unstored || entry->unstored != unstored_as::none;
        return true;
    };
    if (which.all())
        index_.find_each(keys, pin_one);
    else
        which.for_each_set([&](std::size_t i) { pin_one(i, find(keys[i])); });
    return unstored ? take_unstored(pins.at_) : wanted_objects{};
}

l1_cache::wanted_objects l1_cache::take_unstored(std::span<l1_entry* const> wanted)
{
    wanted_objects taken;
    for (l1_entry* entry : wanted)
        if (entry != nullptr && entry->unstored != unstored_as::none) {
            (entry->unstored == unstored_as::written_new ? taken.written_new : taken.written_over).push_back(entry);
            lock(*entry, 1);
            entry->unstored = unstored_as::none;
        }
    return taken;
}

void l1_cache::offer_when_wanted(const read_lease& held, const bitmap& which, write_mode written)
{
    const auto as = written == write_mode::new_only ? unstored_as::written_new : unstored_as::written_over;
    std::scoped_lock guard{mutex_};
    which.for_each_set([&](std::size_t i) { held.held_.at(i)->unstored = as; });
}

read_lease l1_cache::share(const l1_pins& pins, std::size_t positions)
{
    std::vector<l1_entry*> shared;
    for (std::size_t i = 0; i < std::min(positions, pins.at_.size()); ++i)
        if (pins.at_[i] != nullptr)
            shared.push_back(pins.at_[i]);
    {
        std::scoped_lock guard{mutex_};
        for (l1_entry* entry : shared)
            lock(*entry, 1);
    }
    return {shared_from_this(), std::move(shared), 1};
}

read_lease l1_cache::share(const read_lease& held, const bitmap& which)
{
    auto shared = gather<std::vector<l1_entry*>, l1_entry*>(held.held_, which);
    {
        std::scoped_lock guard{mutex_};
        for (l1_entry* entry : shared)
            lock(*entry, 1);
    }
    return {shared_from_this(), std::move(shared), 1};
}

read_lease l1_cache::share(const read_lease& held, const bitmap& found, std::size_t positions)
{
    bitmap leading = found;
    leading.keep_first(positions);
    return share(held, bitmap::first(leading.count(), held.size()));
}

void l1_cache::release(std::vector<l1_entry*> held, std::uint32_t readers) noexcept
{
    bool overdue = false;
    {
        std::scoped_lock guard{mutex_};
        for (std::size_t i = held.size(); i-- > 0;) { // a chain's tail first: it is evicted before its head
            if (i >= fetched_ahead)
                index_.fetch(held[i - fetched_ahead]);
            if (held[i] != nullptr)
                unlock(*held[i], readers);
        }
        overdue = note_overdue();
        if (spare_held_.size() < spare_vectors && held.capacity() <= spare_capacity) {
            held.clear();
            spare_held_.push_back(std::move(held));
        }
    }
    tell_room();
    tell_overdue(overdue);
}

void l1_cache::release(std::span<const l1_hold> held) noexcept
{
    bool overdue = false;
    {
        std::scoped_lock guard{mutex_};
        for (std::size_t i = held.size(); i-- > 0;)
            unlock(*held[i].entry, held[i].locks);
        overdue = note_overdue();
    }
    tell_room();
    tell_overdue(overdue);
}

std::vector<l1_entry*> l1_cache::disown(read_lease& lease) noexcept
{
    lease.l1_.reset();
    lease.readers_ = 0;
    return std::exchange(lease.held_, {});
}

read_lease l1_cache::to_lease(l1_pins pins)
{
    std::erase(pins.at_, nullptr);
    return {std::move(pins.l1_), std::move(pins.at_), pins.readers_};
}

// ---- protecting ------------------------------------------------------------------------------------------------

bitmap l1_cache::protect(std::span<const object_key> keys, std::uint64_t limit_bytes)
{
    bitmap protected_now{keys.size()};
    std::scoped_lock guard{mutex_};
    for (std::size_t i = 0; i < keys.size(); ++i) {
        l1_entry* entry = closed_ ? nullptr : find(keys[i]);
        if (entry == nullptr)
            continue;
        if (!entry->pinned) {
            if (counts_.pinned_bytes + room_of(*entry) > limit_bytes)
                continue;
            set_pin(*entry);
        }
        protected_now.set(i);
    }
    return protected_now;
}

void l1_cache::unprotect(std::span<const object_key> keys)
{
    bool overdue = false;
    {
        std::scoped_lock guard{mutex_};
        for (std::size_t i = keys.size(); i-- > 0;) // a chain's tail first
            if (l1_entry* entry = find(keys[i]); entry != nullptr && entry->pinned)
                drop_pin(*entry);
        overdue = note_overdue();
    }
    tell_room();
    tell_overdue(overdue);
}

// ---- removing --------------------------------------------------------------------------------------------------

bitmap l1_cache::erase(std::span<const object_key> keys)
{
    bitmap erased{keys.size()};
    {
        std::scoped_lock guard{mutex_};
        for (std::size_t i = 0; i < keys.size(); ++i)
            if (l1_entry* entry = find(keys[i])) {
                hide(*entry);
                erased.set(i);
            }
    }
    tell_room();
    return erased;
}

void l1_cache::erase_held(const read_lease& held, const bitmap& which)
{
    std::scoped_lock guard{mutex_};
    which.for_each_set([&](std::size_t i) {
        l1_entry* entry = held.held_.at(i);
        if (entry->resident && !entry->pinned) // else it was erased or replaced, or is to stay
            hide(*entry);
    });
}

std::size_t l1_cache::clear(clear_mode mode)
{
    std::size_t cleared = 0;
    {
        std::scoped_lock guard{mutex_};
        index_.for_each([&](l1_entry& entry) {
            if (mode == clear_mode::unlocked && entry.readers != 0)
                return;
            hide(entry);
            ++cleared;
        });
    }
    tell_room();
    return cleared;
}

bool l1_cache::evict_down_to(std::uint64_t target_bytes, std::size_t most)
{
    std::scoped_lock guard{mutex_};
    while (allocator_.used_bytes() > target_bytes) {
        if (most-- == 0)
            return false;
        if (!evict_one())
            break;
    }
    return true;
}

bool l1_cache::evict_overdue(std::size_t most)
{
    std::scoped_lock guard{mutex_};
    while (evictable* overdue = policy_->overdue()) {
        if (most-- == 0)
            return false;
        evict(*overdue);
    }
    overdue_told_ = false;
    return true;
}

void l1_cache::close()
{
    std::scoped_lock guard{mutex_};
    closed_ = true;
}

// ---- telling ---------------------------------------------------------------------------------------------------

void l1_cache::tell_wanted(wanted_objects wanted) noexcept
{
    if (wanted.written_new.empty() && wanted.written_over.empty())
        return;
    // By way of leases, so that what nobody listens for is released.
    read_lease written_new{shared_from_this(), std::move(wanted.written_new), 1};
    read_lease written_over{shared_from_this(), std::move(wanted.written_over), 1};
    if (auto listener = listener_.lock()) {
        if (!written_new.empty())
            listener->on_wanted(std::move(written_new), write_mode::new_only);
        if (!written_over.empty())
            listener->on_wanted(std::move(written_over), write_mode::all);
    }
}

void l1_cache::tell_room() noexcept
{
    if (room_wanted_.load(std::memory_order_relaxed) && room_wanted_.exchange(false))
        if (auto listener = listener_.lock())
            listener->on_room();
}

void l1_cache::tell_pressure(bool pressed) noexcept
{
    if (pressed && !under_pressure_.exchange(true))
        if (auto listener = listener_.lock())
            listener->on_pressure();
}

void l1_cache::tell_overdue(bool overdue) noexcept
{
    if (overdue)
        if (auto listener = listener_.lock())
            listener->on_overdue();
}

void l1_cache::tell_growth(const l1_growth& how) noexcept
{
    if (auto listener = listener_.lock())
        listener->on_growth(how);
}

bool l1_cache::anything_held() const
{
    std::scoped_lock guard{mutex_};
    return counts_.locks != 0 || counts_.staged_objects != 0;
}

std::span<std::byte> l1_cache::usable_memory() const
{
    std::scoped_lock guard{mutex_};
    return {arena_.data(), allocator_.capacity_bytes()};
}

l1_status l1_cache::status() const
{
    std::scoped_lock guard{mutex_};
    l1_status s = counts_;
    s.grown_bytes = allocator_.capacity_bytes();
    s.used_bytes = allocator_.used_bytes();
    return s;
}

std::vector<salt_usage> l1_cache::usage_by_salt() const
{
    std::scoped_lock guard{mutex_};
    return policy_->usage();
}

void l1_cache::check() const
{
    std::scoped_lock guard{mutex_};
    allocator_.check();
    std::uint64_t resident_bytes = 0;
    std::uint64_t locks = 0;
    std::uint64_t locked = 0;
    std::uint64_t pinned = 0;
    index_.for_each([&](const l1_entry& entry) {
        TERRACE_ASSERT(room_of(entry) == allocator_.size_bytes(*entry.memory));
        resident_bytes += room_of(entry);
        locks += entry.readers;
        locked += entry.readers != 0;
        TERRACE_ASSERT(!entry.temporary || entry.readers != 0); // nobody would free it
        TERRACE_ASSERT(!entry.pinned || entry.readers != 0);
        pinned += entry.pinned;
    });
    TERRACE_ASSERT(index_.size() == counts_.resident_objects);
    TERRACE_ASSERT(pinned == counts_.pinned_objects);
    TERRACE_ASSERT(locks <= counts_.locks && locked <= counts_.locked_objects); // the rest is hidden
    TERRACE_ASSERT(resident_bytes + counts_.staged_bytes <= allocator_.used_bytes());
}

} // namespace terrace
