#include <terrace/quota_table.hpp>

#include <terrace/object_key.hpp>

namespace terrace {

void quota_table::set(std::string_view salt, std::uint64_t bytes)
{
    object_key::check_cache_salt(salt);
    change([&] {
        quotas_.insert_or_assign(std::string{salt}, bytes);
        return true;
    });
}

bool quota_table::remove(std::string_view salt)
{
    return change([&] {
        const auto at = quotas_.find(salt);
        if (at == quotas_.end())
            return false;
        quotas_.erase(at);
        return true;
    });
}

std::optional<std::uint64_t> quota_table::find(std::string_view salt) const
{
    std::scoped_lock guard{mutex_};
    const auto at = quotas_.find(salt);
    return at == quotas_.end() ? std::nullopt : std::optional{at->second};
}

std::vector<quota_table::quota> quota_table::list() const
{
    std::scoped_lock guard{mutex_};
    std::vector<quota> quotas;
    quotas.reserve(quotas_.size());
    for (const auto& [salt, bytes] : quotas_)
        quotas.push_back({salt, bytes});
    return quotas;
}

void quota_table::listen(std::weak_ptr<quota_listener> listener)
{
    std::scoped_lock guard{mutex_};
    std::erase_if(listeners_, [](const auto& old) { return old.expired(); });
    listeners_.push_back(std::move(listener));
}

template <class Change>
bool quota_table::change(Change&& make)
{
    std::vector<std::weak_ptr<quota_listener>> listeners;
    {
        std::scoped_lock guard{mutex_};
        listeners = listeners_; // what may throw comes before the change
        if (!make())
            return false;
        ++version_;
    }
    for (const auto& weak : listeners)
        if (const auto listener = weak.lock())
            listener->on_quotas();
    return true;
}

} // namespace terrace
