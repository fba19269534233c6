#include "flow/pin_table.hpp"

#include <algorithm>

namespace terrace {

pin_table::pin_table(flow_context& context, std::uint64_t limit_bytes)
    : context_{context},
      limit_bytes_{limit_bytes},
      alarm_{*context.clock, [this] { unpin_due(); }}
{
}

pin_table::~pin_table()
{
    unpin_all(); // an engine whose executor has ended was not closed
}

bool pin_table::pin(std::span<const object_key> keys, clock::time_point until, bitmap& pinned)
{
    std::scoped_lock guard{mutex_};
    pinned = context_.l1->protect(keys, limit_bytes_);
    const auto first = by_time_.empty() ? clock::time_point::max() : by_time_.begin()->first;
    pinned.for_each_set([&](std::size_t i) {
        auto last = until;
        if (const auto known = by_key_.find(keys[i]); known != by_key_.end())
            last = std::max(last, known->second->first); // pinned twice, it stays for the longer
        forget_one(keys[i]);
        by_key_.emplace(keys[i], by_time_.emplace(last, keys[i]));
    });
    return !by_time_.empty() && by_time_.begin()->first < first;
}

bitmap pin_table::unpin(std::span<const object_key> keys)
{
    bitmap unpinned{keys.size()};
    std::scoped_lock guard{mutex_};
    for (std::size_t i = 0; i < keys.size(); ++i)
        unpinned.set(i, forget_one(keys[i]));
    context_.l1->unprotect(keys);
    return unpinned;
}

void pin_table::forget(std::span<const object_key> keys)
{
    std::scoped_lock guard{mutex_};
    for (const object_key& key : keys)
        forget_one(key);
}

void pin_table::unpin_all()
{
    std::scoped_lock guard{mutex_};
    std::vector<object_key> keys;
    for (const auto& [time, key] : by_time_)
        keys.push_back(key);
    by_key_.clear();
    by_time_.clear();
    context_.l1->unprotect(keys);
}

bool pin_table::forget_one(const object_key& key)
{
    const auto known = by_key_.find(key);
    if (known == by_key_.end())
        return false;
    by_time_.erase(known->second);
    by_key_.erase(known);
    return true;
}

void pin_table::set_alarm()
{
    std::scoped_lock guard{mutex_};
    if (by_time_.empty())
        alarm_.cancel();
    else
        alarm_.set(by_time_.begin()->first);
}

void pin_table::unpin_due()
{
    {
        std::scoped_lock guard{mutex_};
        const auto now = context_.clock->now();
        std::vector<object_key> due;
        while (!by_time_.empty() && by_time_.begin()->first <= now) {
            due.push_back(by_time_.begin()->second);
            by_key_.erase(due.back());
            by_time_.erase(by_time_.begin());
        }
        context_.l1->unprotect(due);
    }
    set_alarm();
}

} // namespace terrace
