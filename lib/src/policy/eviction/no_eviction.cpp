#include "policy/eviction/policies.hpp"

namespace terrace {
namespace {

class no_eviction final : public eviction_policy {
public:
    void admit(evictable&) noexcept override {}
    void acquire(evictable&) noexcept override {}
    void release(evictable&) noexcept override {}
    void forget(evictable&) noexcept override {}
    [[nodiscard]] evictable* victim() noexcept override { return nullptr; }
};

} // namespace

std::unique_ptr<eviction_policy> make_no_eviction()
{
    return std::make_unique<no_eviction>();
}

} // namespace terrace
