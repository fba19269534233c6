#include "flow/key_changes.hpp"

#include <unordered_map>
#include <utility>

namespace terrace {

key_changes::change::change(key_changes& among, std::vector<object_key> keys) : among_{among}, keys_{std::move(keys)}
{
    among_.changes_.push_back(*this);
}

key_changes::change::~change()
{
    among_.changes_.erase(among_.changes_.iterator_to(*this));
    among_.ended_.notify_all();
}

void key_changes::change::late() noexcept
{
    late_ = true;
    among_.ended_.notify_all();
}

key_changes::overlap key_changes::with(std::span<const object_key> keys) const
{
    overlap found{bitmap{keys.size()}, bitmap{keys.size()}};
    if (changes_.empty())
        return found;
    std::unordered_map<object_key, std::size_t> at;
    at.reserve(keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i)
        at.emplace(keys[i], i);
    for (const change& other : changes_)
        for (const object_key& key : other.keys_)
            if (const auto mine = at.find(key); mine != at.end())
                (other.late_ ? found.late : found.in_time).set(mine->second);
    return found;
}

} // namespace terrace
