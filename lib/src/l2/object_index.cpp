#include <terrace/object_index.hpp>

#include "base/key_table.hpp"
#include "base/slab.hpp"

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>
#include <charconv>
#include <stdexcept>

namespace terrace {

namespace intrusive = boost::intrusive;

namespace {

/// What is known of one key: an object, locks, or both.
struct entry : evictable {
    explicit entry(const object_key& k) { key = k; }

    std::shared_ptr<const void> content; // the adapter's
    std::uint64_t locks = 0;
    std::uint64_t sequence = 0;
    intrusive::list_member_hook<> aside_hook;   // in `locked` if it has locks, otherwise perhaps in `chosen`
    intrusive::set_member_hook<> sequence_hook; // in `stored` if there is an object

    [[nodiscard]] bool is_stored() const noexcept { return sequence_hook.is_linked(); }
    [[nodiscard]] bool is_chosen() const noexcept { return locks == 0 && aside_hook.is_linked(); }
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
    using aside_list =
        intrusive::list<entry, intrusive::member_hook<entry, intrusive::list_member_hook<>, &entry::aside_hook>>;
    using sequence_set =
        intrusive::set<entry, intrusive::member_hook<entry, intrusive::set_member_hook<>, &entry::sequence_hook>,
                       intrusive::key_of_value<sequence_of>>;

    std::uint64_t capacity = 0;
    std::uint64_t used = 0;     // of which
    std::uint64_t unlocked = 0; // is in objects without locks; the rest is locked, or room not yet inserted into
    std::uint64_t last_sequence = 0;

    slab<entry> entries;
    key_table<entry> index;                  // of all entries: each has an object or a lock
    aside_list locked;                       // with locks, stored or not
    aside_list chosen;                       // stored, and named by next_victims(): the first goes first
    sequence_set stored;                     // all that have an object, oldest entry first
    std::unique_ptr<eviction_policy> policy; // knows all that is stored, except what is chosen

    state() = default;
    state(const state&) = delete;
    state& operator=(const state&) = delete;
    ~state()
    {
        policy.reset();
        stored.clear();
        chosen.clear();
        locked.clear();
        index.for_each([this](entry& e) { drop(e); });
    }

    [[nodiscard]] entry* find(const object_key& key) const { return index.find(key); }
    [[nodiscard]] entry* find_stored(const object_key& key) const
    {
        entry* e = find(key);
        return e != nullptr && e->is_stored() ? e : nullptr;
    }
    [[nodiscard]] entry& make(const object_key& key)
    {
        index.reserve(1);
        entry& e = entries.make(key);
        index.insert(e);
        return e;
    }
    void drop(entry& e) noexcept
    {
        index.erase(e);
        entries.destroy(e);
    }

    // ---- what the policy is told ----

    void admit(entry& e) noexcept
    {
        e.eviction_marks = 0;
        policy->admit(e);
        if (e.locks != 0)
            policy->acquire(e);
    }

    void forget(entry& e) noexcept
    {
        if (e.is_chosen())
            chosen.erase(chosen.iterator_to(e)); // the policy was told when it was chosen
        else
            policy->forget(e);
    }

    /// Somebody wants it, so it does not go yet.
    void take_back_choice(entry& e) noexcept
    {
        if (!e.is_chosen())
            return;
        forget(e);
        admit(e);
    }

    void touch(entry& e) noexcept
    {
        take_back_choice(e);
        policy->touch(e);
    }

    [[nodiscard]] entry* next_victim() noexcept
    {
        return chosen.empty() ? static_cast<entry*>(policy->victim()) : &chosen.front();
    }

    // ---- objects and locks ----

    /// The key has an object of `bytes` from now on, which `used` counts already.
    void put(const object_key& key, std::uint64_t bytes, std::shared_ptr<const void> content)
    {
        entry* there = find(key);
        entry& e = there != nullptr ? *there : make(key);
        e.content = std::move(content);
        const std::uint64_t before = e.bytes;
        if (!e.is_stored()) {
            e.sequence = ++last_sequence;
            e.bytes = bytes;
            stored.push_back(e);
            admit(e);
        } else if (bytes == before) {
            touch(e); // stored again: it was asked for, and computed
        } else {
            forget(e); // an object's size is constant for a policy
            e.bytes = bytes;
            admit(e);
        }
        used -= before;
        unlocked += e.locks == 0 ? bytes - before : 0;
    }

    void remove(entry& e)
    {
        used -= e.bytes;
        stored.erase(stored.iterator_to(e));
        forget(e);
        if (e.locks == 0) {
            unlocked -= e.bytes;
            drop(e);
        } else {
            e.bytes = 0; // the locks stay with the key
            e.content.reset();
        }
    }

    void evict(entry& e, std::vector<object_key>& evicted)
    {
        evicted.push_back(e.key);
        remove(e);
    }

    void lock(entry& e) noexcept
    {
        if (e.locks == 0) {
            take_back_choice(e);
            policy->acquire(e);
            locked.push_back(e);
            unlocked -= e.bytes;
        }
        ++e.locks;
    }

    void unlock(entry& e) noexcept
    {
        if (e.locks != 0 && --e.locks == 0)
            release(e);
    }

    void release(entry& e) noexcept // its last lock has gone
    {
        locked.erase(locked.iterator_to(e));
        if (e.is_stored()) {
            policy->release(e);
            unlocked += e.bytes;
        } else {
            drop(e);
        }
    }
};

object_index::object_index(std::uint64_t capacity_bytes, std::unique_ptr<eviction_policy> policy)
    : state_{std::make_unique<state>()}
{
    state_->capacity = capacity_bytes;
    state_->policy = policy != nullptr ? std::move(policy) : eviction_policy::make("lru");
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
    if (e != nullptr)
        state_->lock(*e);
    return e != nullptr;
}

void object_index::unlock(const object_key& key)
{
    entry* e = state_->find(key);
    if (e != nullptr)
        state_->unlock(*e);
}

bitmap object_index::lock(std::span<const object_key> keys)
{
    bitmap found{keys.size()};
    state_->index.find_each(keys, [&](std::size_t i, entry* e) {
        if (e != nullptr && e->is_stored()) {
            state_->lock(*e);
            found.set(i);
        }
        return true;
    });
    return found;
}

std::shared_ptr<const void> object_index::content(const object_key& key) const
{
    const entry* e = state_->find_stored(key);
    return e != nullptr ? e->content : nullptr;
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

void object_index::make_latest(const object_key& key)
{
    entry* e = state_->find_stored(key);
    if (e == nullptr || e->locks != 0)
        return;
    state_->take_back_choice(*e);
    state_->policy->acquire(*e); // the order of release is all that this changes
    state_->policy->release(*e);
}

object_index::room object_index::make_room(std::uint64_t bytes)
{
    state& s = *state_;
    room made;
    while (evictable* overdue = s.policy->overdue())
        s.evict(static_cast<entry&>(*overdue), made.evicted);
    if (s.capacity != 0) {
        const std::uint64_t kept = s.used - s.unlocked;
        if (kept > s.capacity || bytes > s.capacity - kept)
            return made;
        while (s.used > s.capacity - bytes) {
            entry* victim = s.next_victim();
            if (victim == nullptr)
                return made;
            s.evict(*victim, made.evicted);
        }
    }
    s.used += bytes;
    made.granted = true;
    return made;
}

std::vector<object_index::candidate> object_index::next_victims(std::uint64_t bytes)
{
    state& s = *state_;
    std::vector<candidate> next;
    std::uint64_t named = 0;
    const auto name = [&](const entry& e) {
        next.push_back({e.key, e.bytes});
        named += e.bytes;
    };
    for (auto at = s.chosen.begin(); at != s.chosen.end() && named < bytes; ++at)
        name(*at);
    while (named < bytes) {
        auto* victim = static_cast<entry*>(s.policy->victim());
        if (victim == nullptr)
            break;
        name(*victim);
        s.policy->forget(*victim);
        s.chosen.push_back(*victim);
    }
    return next;
}

std::vector<object_index::candidate> object_index::lock_victims(std::uint64_t bytes)
{
    const state& s = *state_;
    if (s.capacity == 0 || bytes > s.capacity || s.used <= s.capacity - bytes)
        return {};
    auto victims = next_victims(s.used - (s.capacity - bytes));
    for (const candidate& victim : victims)
        lock(victim.key);
    return victims;
}

void object_index::give_back(std::uint64_t bytes) noexcept
{
    state_->used -= bytes;
}

void object_index::insert(const object_key& key, std::uint64_t bytes, std::shared_ptr<const void> content)
{
    state_->put(key, bytes, std::move(content));
}

void object_index::restore(const object_key& key, std::uint64_t bytes)
{
    state_->put(key, bytes, nullptr);
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
