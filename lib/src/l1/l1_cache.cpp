#include "l1/l1_cache.hpp"

#include "base/assert.hpp"
#include "l1/poison.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace terrace {
namespace {

constexpr std::size_t spare_vectors = 64;
constexpr std::size_t spare_capacity = 4096; // entries; larger ones go back to the heap

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
    poison({arena_.data(), arena_.grown_bytes()});
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
    unpoison({arena_.data(), arena_.grown_bytes()});
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
    const std::uint64_t needed = rounded(layout.size_bytes());
    if (needed > capacity_)
        return l1_error::larger_than_l1;
    if (promised_bytes_ + needed > room_after_eviction()) // nothing is evicted for what will not fit all the same
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
    unpoison(bytes(entry));
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
    poison(bytes(entry));
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

// ---- reading ---------------------------------------------------------------------------------------------------

read_lease l1_cache::read(std::span<const object_key> keys, std::uint32_t readers)
{
    read_lease lease{shared_from_this(), {}, readers}; // what is locked is its own at once
    std::vector<l1_entry*>& held = lease.held_;
    wanted_objects wanted;
    {
        std::scoped_lock guard{mutex_};
        if (!spare_held_.empty()) {
            held = std::move(spare_held_.back());
            spare_held_.pop_back();
        }
        held.reserve(keys.size());
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
    return lease;
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
    std::size_t written_new = 0;
    std::size_t written_over = 0;
    for (const l1_entry* entry : wanted)
        if (entry != nullptr && entry->unstored != unstored_as::none)
            ++(entry->unstored == unstored_as::written_new ? written_new : written_over);
    taken.written_new.reserve(written_new); // what may throw comes before the locks
    taken.written_over.reserve(written_over);
    for (l1_entry* entry : wanted)
        if (entry != nullptr && entry->unstored != unstored_as::none) {
            (entry->unstored == unstored_as::written_new ? taken.written_new : taken.written_over).push_back(entry);
            lock(*entry, 1);
            entry->unstored = unstored_as::none;
        }
    return taken;
}

bitmap l1_cache::overwritten(const read_lease& held) const
{
    bitmap which{held.size()};
    std::scoped_lock guard{mutex_};
    for (std::size_t i = 0; i < held.size(); ++i)
        which.set(i, held.held_[i]->overwritten);
    return which;
}

void l1_cache::offer_when_wanted(const read_lease& held, const bitmap& which, write_mode written)
{
    const auto as = written == write_mode::new_only ? unstored_as::written_new : unstored_as::written_over;
    std::scoped_lock guard{mutex_};
    which.for_each_set([&](std::size_t i) { held.held_.at(i)->unstored = as; });
}

std::uint64_t l1_cache::room_of(const read_lease& held) const noexcept
{
    std::uint64_t bytes = 0;
    for (const l1_entry* entry : held.held_)
        bytes += room_of(*entry);
    return bytes;
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

void l1_cache::retain(std::span<l1_entry* const> held)
{
    std::scoped_lock guard{mutex_};
    for (l1_entry* entry : held)
        if (entry != nullptr)
            entry->temporary = false;
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

l1_room l1_cache::room() const
{
    std::scoped_lock guard{mutex_};
    return room_now();
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
