#include "policy/eviction/policies.hpp"

namespace terrace {
namespace {

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
    eviction_queue by_use_; // the earliest first
};

} // namespace

std::unique_ptr<eviction_policy> make_lru()
{
    return std::make_unique<lru>();
}

} // namespace terrace
