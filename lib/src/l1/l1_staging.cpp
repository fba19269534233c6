// What makes objects of L1: reserving memory for them, growing for it, and publishing them.

#include "l1/l1_cache.hpp"

#include "base/assert.hpp"
#include "l1/poison.hpp"

#include <algorithm>
#include <utility>

namespace terrace {
namespace {

constexpr std::uint32_t longest_growth_pause = 16; // as a power of two, in shortages

} // namespace

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
        poison(spare_slice_);
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
        return static_cast<std::uint64_t>(staged) * rounded(layout.size_bytes());
    };
    return reserve(keys, mode, shortage, needed, [&](slot& s, std::size_t i) {
        index_.prefetch(keys[std::min(i + fetched_ahead, keys.size() - 1)]);
        const l1_error refused = refusal(s.key);
        return refused == l1_error::none ? stage(s, layout, false) : refused;
    });
}

std::uint64_t l1_cache::needed_bytes(std::span<const layout_run> layouts) const noexcept
{
    std::uint64_t bytes = 0;
    std::size_t begin = 0;
    for (const layout_run& run : layouts)
        bytes += (run.end - std::exchange(begin, run.end)) * rounded(run.layout.size_bytes());
    return bytes;
}

std::optional<write_lease> l1_cache::stage_for_load(std::span<const object_key> keys,
                                                    std::span<const layout_run> layouts, on_shortage shortage)
{
    const auto needed = [&] { return needed_bytes(layouts); };
    return reserve(keys, write_mode::new_only, shortage, needed,
                   [&, run = layouts.begin()](slot& s, std::size_t i) mutable {
                       if (i == 0) // the first time, and again once L1 has grown
                           run = layouts.begin();
                       while (i >= run->end)
                           ++run;
                       return stage(s, run->layout, true);
                   });
}

std::vector<write_lease> l1_cache::split(write_lease from, std::size_t parts, std::span<const std::uint32_t> part_of)
{
    std::vector<std::vector<slot>> slots(parts + 1); // the last is discarded
    for (std::size_t i = 0; i < from.slots_.size(); ++i)
        slots[std::min<std::size_t>(part_of[i], parts)].push_back(from.slots_[i]);
    std::vector<write_lease> leases;
    leases.reserve(parts); // what may throw comes before anything has two owners
    from.slots_ = std::move(slots.back());
    slots.pop_back();
    for (auto& part : slots)
        leases.push_back(write_lease{from.l1_, std::move(part), from.mode_});
    return leases;
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
            if (resident != nullptr) {
                resident->overwritten = true;
                hide(*resident); // its readers keep it
            }
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

} // namespace terrace
