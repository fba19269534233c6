#include <terrace/eviction_policy.hpp>

#include <boost/intrusive/list.hpp>
#include <fmt/format.h>
#include <stdexcept>

namespace terrace {
namespace {

using eviction_list = boost::intrusive::list<
    evictable,
    boost::intrusive::member_hook<evictable, boost::intrusive::list_member_hook<>, &evictable::eviction_hook>,
    boost::intrusive::constant_time_size<false>>;

/// Holds only what nobody has locked, in order of release or touch: picking a victim never walks past a locked object.
class lru final : public eviction_policy {
public:
    void admit(evictable& object) noexcept override { by_use_.push_back(object); }
    void acquire(evictable& object) noexcept override { by_use_.erase(by_use_.iterator_to(object)); }
    void release(evictable& object) noexcept override { by_use_.push_back(object); }
    void forget(evictable& object) noexcept override
    {
        if (object.eviction_hook.is_linked())
            acquire(object);
    }
    void touch(evictable& object) noexcept override
    {
        if (object.eviction_hook.is_linked()) // else its release will be its latest use
            by_use_.splice(by_use_.end(), by_use_, by_use_.iterator_to(object));
    }
    [[nodiscard]] evictable* victim() noexcept override { return by_use_.empty() ? nullptr : &by_use_.front(); }

private:
    eviction_list by_use_; // the earliest first
};

class no_eviction final : public eviction_policy {
public:
    void admit(evictable&) noexcept override {}
    void acquire(evictable&) noexcept override {}
    void release(evictable&) noexcept override {}
    void forget(evictable&) noexcept override {}
    [[nodiscard]] evictable* victim() noexcept override { return nullptr; }
};

} // namespace

std::unique_ptr<eviction_policy> eviction_policy::make(std::string_view name)
{
    if (name == "lru")
        return std::make_unique<lru>();
    if (name == "none")
        return std::make_unique<no_eviction>();
    throw std::invalid_argument(fmt::format("eviction policy '{}' is unknown; expected lru or none", name));
}

} // namespace terrace
