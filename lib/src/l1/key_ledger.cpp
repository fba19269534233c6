#include "l1/key_ledger.hpp"

#include "base/batch.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace terrace {

std::uint64_t key_ledger::locks(const holds& of) noexcept
{
    return std::accumulate(of.begin(), of.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const l1_hold& hold) { return sum + hold.locks; });
}

void key_ledger::add(holds& to, const l1_hold& more)
{
    auto same = std::ranges::find(to, more.entry, &l1_hold::entry);
    if (same != to.end())
        same->locks += more.locks;
    else
        to.push_back(more);
}

void key_ledger::keep(read_lease lease)
{
    if (lease.empty())
        return;
    if (!l1_->minted(lease))
        throw std::invalid_argument(fmt::format(
            "keep: a lease on {} objects of another L1, as of key {}; expected one of the L1 that this ledger is for",
            lease.size(), lease.key(0).to_string()));
    std::scoped_lock guard{mutex_};
    // What may throw comes before what may not: a key without locks is as good as none.
    for (std::size_t i = 0; i < lease.size(); ++i) {
        holds& of = held_[lease.key(i)];
        of.reserve(of.size() + 1);
    }
    const std::uint32_t locks = lease.readers();
    for (l1_entry* entry : l1_cache::disown(lease))
        add(held_.find(entry->key)->second, {entry, locks});
}

void key_ledger::finish_read(std::span<const object_key> keys, std::uint32_t n)
{
    detail::check_keys("finish_read", keys);
    if (n == 0)
        throw std::invalid_argument("finish_read: 0 locks; expected at least 1");
    std::vector<l1_hold> released;
    {
        std::scoped_lock guard{mutex_};
        std::size_t most = 0;
        for (const object_key& key : keys) {
            auto it = held_.find(key);
            const std::uint64_t held = it == held_.end() ? 0 : locks(it->second);
            if (held < n)
                throw std::invalid_argument(fmt::format("finish_read: {} locks of key {}; expected at most {}, those "
                                                        "that are held",
                                                        n, key.to_string(), held));
            most += it->second.size();
        }
        released.reserve(most);
        for (const object_key& key : keys) {
            auto it = held_.find(key);
            holds& of = it->second;
            auto last = of.begin(); // after what goes whole
            for (std::uint32_t left = n; left != 0;) {
                const std::uint32_t taken = std::min(left, last->locks);
                released.push_back({last->entry, taken});
                left -= taken;
                last->locks -= taken;
                if (last->locks == 0)
                    ++last;
            }
            of.erase(of.begin(), last);
            if (of.empty())
                held_.erase(it);
        }
    }
    l1_->release(released); // outside of the mutex, for L1 tells its listener
}

void key_ledger::release_all() noexcept
{
    decltype(held_) all;
    {
        std::scoped_lock guard{mutex_};
        all.swap(held_);
    }
    for (const auto& [key, of] : all)
        l1_->release(of);
}

std::uint64_t key_ledger::held(const object_key& key) const
{
    std::scoped_lock guard{mutex_};
    auto it = held_.find(key);
    return it == held_.end() ? 0 : locks(it->second);
}

} // namespace terrace
