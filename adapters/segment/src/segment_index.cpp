#include "segment_index.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <string>
#include <utility>

namespace terrace::segment {

namespace {

std::uint64_t parse_position(const std::string& text)
{
    std::uint64_t position = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, position);
    if (error != std::errc{} || rest != end)
        throw std::invalid_argument("list cursor '" + text + "': expected one from key_page::next");
    return position;
}

} // namespace

segment_index::~segment_index()
{
    listed_.clear();
    for (auto& [segment, entries] : places_)
        entries.clear();
}

segment_index::entry* segment_index::find_stored(const object_key& key)
{
    const auto at = entries_.find(key);
    return at != entries_.end() && at->second.is_stored() ? &at->second : nullptr;
}

const record* segment_index::find(const object_key& key) const
{
    const auto at = entries_.find(key);
    return at != entries_.end() && at->second.is_stored() ? &at->second.where : nullptr;
}

std::vector<indexed> segment_index::in_segment(std::uint32_t segment) const
{
    std::vector<indexed> found;
    if (const auto at = places_.find(segment); at != places_.end())
        for (const entry& e : at->second)
            found.push_back({*e.key, e.where, e.uses, e.locks != 0});
    std::ranges::sort(found, {}, [](const indexed& i) { return i.where.offset; });
    return found;
}

std::vector<indexed> segment_index::all() const
{
    std::vector<indexed> found;
    for (const entry& e : listed_)
        found.push_back({*e.key, e.where, e.uses, e.locks != 0});
    return found;
}

bool segment_index::is_dead(std::uint32_t segment) const
{
    const auto at = places_.find(segment);
    return at == places_.end() || at->second.empty();
}

void segment_index::place(entry& e, const record& where, entry_list& neighbours) noexcept
{
    e.where = where;
    e.uses = 0;
    e.unreadable = false;
    neighbours.push_back(e);
    used_bytes_ += where.bytes();
    locked_bytes_ += e.locks != 0 ? where.bytes() : 0;
}

void segment_index::unplace(entry& e)
{
    entry_list& neighbours = places_[e.where.segment];
    neighbours.erase(neighbours.iterator_to(e));
    used_bytes_ -= e.where.bytes();
    locked_bytes_ -= e.locks != 0 ? e.where.bytes() : 0;
}

void segment_index::put(const object_key& key, const record& where)
{
    entry_list& neighbours = places_[where.segment];
    const auto at = entries_.try_emplace(key).first;
    entry& e = at->second;
    e.key = &at->first;
    if (!e.is_stored()) {
        e.position = ++last_position_;
        listed_.push_back(e);
    } else if (e.where.sequence < where.sequence) {
        unplace(e);
    } else {
        return;
    }
    place(e, where, neighbours);
}

bool segment_index::move(const object_key& key, const record& from, const record& to)
{
    entry* e = find_stored(key);
    if (e == nullptr || e->where != from)
        return false;
    entry_list& neighbours = places_[to.segment];
    unplace(*e);
    place(*e, to, neighbours);
    return true;
}

void segment_index::remove(entry& e)
{
    unplace(e);
    listed_.erase(listed_.iterator_to(e));
    if (e.locks == 0)
        entries_.erase(entries_.find(*e.key)); // by iterator: the key lies in what is erased
}

bool segment_index::erase(const object_key& key)
{
    entry* e = find_stored(key);
    if (e != nullptr)
        remove(*e);
    return e != nullptr;
}

bool segment_index::erase_record(const object_key& key, const record& where)
{
    entry* e = find_stored(key);
    if (e == nullptr || e->where != where)
        return false;
    remove(*e);
    return true;
}

void segment_index::erase_older(const object_key& key, std::uint64_t sequence)
{
    entry* e = find_stored(key);
    if (e != nullptr && e->where.sequence < sequence)
        remove(*e);
}

bool segment_index::mark_unreadable(const object_key& key, const record& where)
{
    entry* e = find_stored(key);
    return e != nullptr && e->where == where && !std::exchange(e->unreadable, true);
}

bool segment_index::is_unreadable(const object_key& key) const
{
    const auto at = entries_.find(key);
    return at != entries_.end() && at->second.is_stored() && at->second.unreadable;
}

void segment_index::touch(const object_key& key)
{
    entry* e = find_stored(key);
    if (e != nullptr && !e->victim && e->uses < max_uses)
        ++e->uses;
}

bool segment_index::lock(entry& e)
{
    if (e.locks++ == 0) {
        ++locked_keys_;
        locked_bytes_ += e.where.bytes();
    }
    return true;
}

bool segment_index::lock(const object_key& key)
{
    entry* e = find_stored(key);
    if (e == nullptr)
        return false;
    e->victim = false;
    return lock(*e);
}

bool segment_index::lock_as_victim(const object_key& key)
{
    entry* e = find_stored(key);
    if (e == nullptr)
        return false;
    e->victim = true;
    return lock(*e);
}

void segment_index::unlock(const object_key& key)
{
    const auto at = entries_.find(key);
    if (at == entries_.end() || at->second.locks == 0)
        return;
    entry& e = at->second;
    if (--e.locks != 0)
        return;
    --locked_keys_;
    e.victim = false;
    if (e.is_stored())
        locked_bytes_ -= e.where.bytes();
    else
        entries_.erase(at);
}

void segment_index::unlock_all()
{
    for (auto at = entries_.begin(); at != entries_.end();) {
        at->second.locks = 0;
        at = at->second.is_stored() ? std::next(at) : entries_.erase(at);
    }
    locked_keys_ = 0;
    locked_bytes_ = 0;
}

bool segment_index::is_locked(const object_key& key) const
{
    const auto at = entries_.find(key);
    return at != entries_.end() && at->second.locks != 0;
}

key_page segment_index::list(const list_cursor& cursor) const
{
    if (cursor.max_keys == 0)
        throw std::invalid_argument("list cursor: max_keys is 0, expected 1 or more");
    const std::uint64_t after = cursor.after.empty() ? 0 : parse_position(cursor.after);
    key_page page;
    auto at = listed_.upper_bound(after);
    std::uint64_t last = after;
    for (; at != listed_.end() && page.keys.size() < cursor.max_keys; ++at) {
        page.keys.push_back(*at->key);
        last = at->position;
    }
    if (at != listed_.end())
        page.next = list_cursor{std::to_string(last), cursor.max_keys};
    return page;
}

} // namespace terrace::segment
