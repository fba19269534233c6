#include <terrace/object_index.hpp>

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>
#include <charconv>
#include <stdexcept>
#include <unordered_map>

namespace terrace {

namespace intrusive = boost::intrusive;

namespace {

/// What is known of one key: an object, locks, or both.
struct entry {
    explicit entry(const object_key& k) : key{k} {}

    object_key key;
    std::uint64_t bytes = 0;
    std::uint64_t locks = 0;
    std::uint64_t sequence = 0;
    intrusive::list_member_hook<> use_hook;     // in `locked` if it has locks, otherwise in `recency`
    intrusive::set_member_hook<> sequence_hook; // in `stored` if there is an object

    [[nodiscard]] bool is_stored() const noexcept { return sequence_hook.is_linked(); }
};

struct sequence_of {
    using type = std::uint64_t;
    const type& operator()(const entry& e) const noexcept { return e.sequence; }
};

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

struct object_index::state {
    using use_list =
        intrusive::list<entry, intrusive::member_hook<entry, intrusive::list_member_hook<>, &entry::use_hook>>;
    using sequence_set =
        intrusive::set<entry, intrusive::member_hook<entry, intrusive::set_member_hook<>, &entry::sequence_hook>,
                       intrusive::key_of_value<sequence_of>>;

    std::uint64_t capacity = 0;
    std::uint64_t used = 0;      // of which
    std::uint64_t evictable = 0; // is in objects without locks; the rest is locked, or room not yet inserted into
    std::uint64_t last_sequence = 0;

    std::unordered_map<object_key, entry> entries; // each has an object or a lock
    use_list recency;                              // without locks, all stored; the front was used least recently
    use_list locked;                               // with locks, stored or not
    sequence_set stored;                           // all that have an object, oldest entry first

    [[nodiscard]] const entry* find(const object_key& key) const
    {
        const auto at = entries.find(key);
        return at == entries.end() ? nullptr : &at->second;
    }
    [[nodiscard]] entry* find(const object_key& key)
    {
        const auto at = entries.find(key);
        return at == entries.end() ? nullptr : &at->second;
    }
    [[nodiscard]] entry* find_stored(const object_key& key)
    {
        entry* e = find(key);
        return e != nullptr && e->is_stored() ? e : nullptr;
    }

    void touch(entry& e) noexcept
    {
        if (e.locks == 0)
            recency.splice(recency.end(), recency, recency.iterator_to(e));
    }

    /// The key has an object of `bytes` from now on, which `used` counts already.
    void put(const object_key& key, std::uint64_t bytes)
    {
        entry& e = entries.try_emplace(key, key).first->second;
        if (e.is_stored()) {
            used -= e.bytes;
            evictable -= e.locks == 0 ? e.bytes : 0;
        } else {
            e.sequence = ++last_sequence;
            stored.push_back(e);
            if (e.locks == 0)
                recency.push_back(e);
        }
        e.bytes = bytes;
        evictable += e.locks == 0 ? bytes : 0;
        touch(e);
    }

    void remove(entry& e)
    {
        used -= e.bytes;
        stored.erase(stored.iterator_to(e));
        if (e.locks != 0)
            return; // the locks stay with the key
        evictable -= e.bytes;
        forget(e, recency);
    }

    void release(entry& e)
    {
        if (!e.is_stored()) {
            forget(e, locked);
            return;
        }
        recency.splice(recency.end(), locked, locked.iterator_to(e));
        evictable += e.bytes;
    }

    void forget(entry& e, use_list& where)
    {
        where.erase(where.iterator_to(e));
        entries.erase(entries.find(e.key)); // by iterator: the key lies in what is erased
    }
};

object_index::object_index(std::uint64_t capacity_bytes) : state_{std::make_unique<state>()}
{
    state_->capacity = capacity_bytes;
}

object_index::~object_index() = default;

std::uint64_t object_index::capacity_bytes() const noexcept
{
    return state_->capacity;
}

std::uint64_t object_index::used_bytes() const noexcept
{
    return state_->used;
}

std::size_t object_index::objects() const noexcept
{
    return state_->stored.size();
}

std::size_t object_index::locked_objects() const noexcept
{
    return state_->locked.size();
}

std::optional<std::uint64_t> object_index::find(const object_key& key) const
{
    const entry* e = state_->find_stored(key);
    return e != nullptr ? std::optional{e->bytes} : std::nullopt;
}

bool object_index::lock(const object_key& key)
{
    entry* e = state_->find_stored(key);
    if (e == nullptr)
        return false;
    if (++e->locks == 1) {
        state_->locked.splice(state_->locked.end(), state_->recency, state_->recency.iterator_to(*e));
        state_->evictable -= e->bytes;
    }
    return true;
}

void object_index::unlock(const object_key& key)
{
    entry* e = state_->find(key);
    if (e != nullptr && e->locks != 0 && --e->locks == 0)
        state_->release(*e);
}

void object_index::unlock_all() noexcept
{
    while (!state_->locked.empty()) {
        entry& e = state_->locked.front();
        e.locks = 0;
        state_->release(e);
    }
}

bool object_index::locked(const object_key& key) const
{
    const entry* e = state_->find(key);
    return e != nullptr && e->locks != 0;
}

void object_index::touch(const object_key& key)
{
    if (entry* e = state_->find_stored(key))
        state_->touch(*e);
}

std::optional<std::vector<object_key>> object_index::make_room(std::uint64_t bytes)
{
    state& s = *state_;
    std::vector<object_key> evicted;
    if (s.capacity != 0) {
        const std::uint64_t kept = s.used - s.evictable;
        if (kept > s.capacity || bytes > s.capacity - kept)
            return std::nullopt;
        while (s.used > s.capacity - bytes) {
            evicted.push_back(s.recency.front().key);
            s.remove(s.recency.front());
        }
    }
    s.used += bytes;
    return evicted;
}

std::vector<object_key> object_index::next_victims(std::uint64_t bytes) const
{
    const state& s = *state_;
    std::vector<object_key> victims;
    std::uint64_t used = s.used;
    if (s.capacity == 0 || bytes > s.capacity)
        return victims;
    for (const entry& e : s.recency) {
        if (used <= s.capacity - bytes)
            break;
        victims.push_back(e.key);
        used -= e.bytes;
    }
    return victims;
}

void object_index::give_back(std::uint64_t bytes) noexcept
{
    state_->used -= bytes;
}

void object_index::insert(const object_key& key, std::uint64_t bytes)
{
    state_->put(key, bytes);
}

void object_index::restore(const object_key& key, std::uint64_t bytes)
{
    state_->put(key, bytes);
    state_->used += bytes;
}

bool object_index::erase(const object_key& key)
{
    entry* e = state_->find_stored(key);
    if (e == nullptr)
        return false;
    state_->remove(*e);
    return true;
}

key_page object_index::list(const list_cursor& cursor) const
{
    if (cursor.max_keys == 0)
        throw std::invalid_argument("list cursor: max_keys is 0, expected 1 or more");
    const std::uint64_t after = cursor.after.empty() ? 0 : parse_position(cursor.after);

    key_page page;
    std::uint64_t last = after;
    auto at = state_->stored.upper_bound(after);
    for (; at != state_->stored.end() && page.keys.size() < cursor.max_keys; ++at) {
        page.keys.push_back(at->key);
        last = at->sequence;
    }
    if (at != state_->stored.end())
        page.next.emplace(std::to_string(last), cursor.max_keys);
    return page;
}

} // namespace terrace
