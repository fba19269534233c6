#include "base/slab.hpp"
#include "policy/eviction/policies.hpp"

#include <boost/intrusive/set.hpp>
#include <new>
#include <tuple>

namespace terrace {
namespace {

namespace intrusive = boost::intrusive;

/// The objects of one cache salt, while there are any.
struct tenant {
    /// Who gives first: the greatest.
    struct rank {
        std::uint64_t excess_bytes = 0; // over the quota
        std::uint64_t used_bytes = 0;
        std::uint32_t salt = 0; // so that no two are equal
        friend auto operator<=>(const rank&, const rank&) = default;
    };

    std::uint32_t salt = 0;
    std::string_view name;
    std::optional<std::uint64_t> quota;
    std::uint64_t objects = 0;
    std::uint64_t used_bytes = 0;
    std::uint64_t kept_bytes = 0; // of which in `kept`
    eviction_queue kept;          // what nobody has locked; the front was used least recently

    intrusive::set_member_hook<> salt_hook;
    intrusive::set_member_hook<> giver_hook; // linked: `kept` is not empty
    rank giver_rank;                         // at the time of linking

    [[nodiscard]] rank current_rank() const noexcept
    {
        return {quota && kept_bytes > *quota ? kept_bytes - *quota : 0, used_bytes, salt};
    }
};

struct salt_of_tenant {
    using type = std::uint32_t;
    const type& operator()(const tenant& t) const noexcept { return t.salt; }
};
struct rank_of_tenant {
    using type = tenant::rank;
    const type& operator()(const tenant& t) const noexcept { return t.giver_rank; }
};

/// An LRU for each cache salt, and an order among those that have something to give.
///
/// What a tenant keeps, that is, what nobody has locked, is held to its quota. What it has locked passes through: were
/// it counted, each prefetch of a tenant at its quota would push out as much of what it keeps, and be gone itself a
/// moment later. Between tenants within their quotas everything counts, for a lock takes memory from the others too.
class isolated_lru final : public eviction_policy {
public:
    explicit isolated_lru(std::shared_ptr<const quota_table> quotas) : quotas_{std::move(quotas)}
    {
        nameless_.salt = nameless_salt;
    }
    ~isolated_lru() override
    {
        givers_.clear();
        by_salt_.clear_and_dispose([this](tenant* t) { tenants_.destroy(*t); });
    }

    void admit(evictable& object) noexcept override
    {
        tenant& owner = make_tenant(object);
        ++owner.objects;
        owner.used_bytes += object.bytes;
        keep(owner, object);
    }

    void acquire(evictable& object) noexcept override
    {
        tenant& owner = tenant_of(object);
        take_out(owner, object);
        settle(owner);
    }

    void release(evictable& object) noexcept override { keep(tenant_of(object), object); }

    void forget(evictable& object) noexcept override
    {
        tenant& owner = tenant_of(object);
        if (object.eviction_hook.is_linked())
            take_out(owner, object);
        owner.used_bytes -= object.bytes;
        --owner.objects;
        settle(owner);
        if (owner.objects == 0 && &owner != &nameless_) {
            by_salt_.erase(by_salt_.iterator_to(owner));
            tenants_.destroy(owner);
        }
    }

    void touch(evictable& object) noexcept override
    {
        if (!object.eviction_hook.is_linked())
            return; // its release will be its latest use
        eviction_queue& kept = tenant_of(object).kept;
        kept.splice(kept.end(), kept, kept.iterator_to(object));
    }

    [[nodiscard]] evictable* victim() noexcept override
    {
        read_quotas();
        return givers_.empty() ? nullptr : &givers_.rbegin()->kept.front();
    }

    [[nodiscard]] evictable* overdue() noexcept override
    {
        evictable* next = victim();
        return next != nullptr && givers_.rbegin()->giver_rank.excess_bytes != 0 ? next : nullptr;
    }

    [[nodiscard]] std::vector<salt_usage> usage() const override
    {
        std::vector<salt_usage> result;
        result.reserve(by_salt_.size());
        for (const tenant& t : by_salt_)
            result.push_back({t.name, t.used_bytes, t.kept_bytes, quota_of(t.name)});
        return result;
    }

private:
    // Objects whose tenant could not be recorded, for want of memory, share one without a quota.
    static constexpr std::uint16_t is_nameless = 1; // in evictable::eviction_marks
    static constexpr std::uint32_t nameless_salt = ~std::uint32_t{0};

    [[nodiscard]] tenant& tenant_of(const evictable& object) noexcept
    {
        return object.eviction_marks == is_nameless ? nameless_ : *by_salt_.find(object.key.cache_salt_number());
    }

    [[nodiscard]] tenant& make_tenant(evictable& object) noexcept
    {
        const std::uint32_t salt = object.key.cache_salt_number();
        if (const auto found = by_salt_.find(salt); found != by_salt_.end())
            return *found;
        try {
            tenant& made = tenants_.make();
            made.salt = salt;
            made.name = object.key.cache_salt();
            made.quota = quota_of(made.name);
            by_salt_.insert(made);
            return made;
        } catch (const std::bad_alloc&) {
            object.eviction_marks = is_nameless;
            return nameless_;
        }
    }

    [[nodiscard]] std::optional<std::uint64_t> quota_of(std::string_view salt) const
    {
        return quotas_ != nullptr ? quotas_->find(salt) : std::nullopt;
    }

    void keep(tenant& owner, evictable& object) noexcept
    {
        owner.kept.push_back(object);
        owner.kept_bytes += object.bytes;
        settle(owner);
    }

    static void take_out(tenant& owner, evictable& object) noexcept
    {
        owner.kept.erase(owner.kept.iterator_to(object));
        owner.kept_bytes -= object.bytes;
    }

    /// Puts the tenant where it stands now among those that give.
    void settle(tenant& t) noexcept
    {
        const tenant::rank now = t.current_rank();
        if (t.giver_hook.is_linked()) {
            if (!t.kept.empty() && t.giver_rank == now)
                return;
            givers_.erase(givers_.iterator_to(t));
        }
        t.giver_rank = now;
        if (!t.kept.empty())
            givers_.insert(t);
    }

    void read_quotas() noexcept
    {
        if (quotas_ == nullptr || quotas_->version() == version_)
            return;
        version_ = quotas_->version(); // before the quotas: a change from now on is read again
        for (tenant& t : by_salt_) {
            t.quota = quota_of(t.name);
            settle(t);
        }
    }

    const std::shared_ptr<const quota_table> quotas_; // may be null
    std::uint64_t version_ = 0;                       // of the quotas that the tenants have

    slab<tenant, 64> tenants_;
    tenant nameless_;
    intrusive::set<tenant, intrusive::member_hook<tenant, intrusive::set_member_hook<>, &tenant::salt_hook>,
                   intrusive::key_of_value<salt_of_tenant>>
        by_salt_;
    intrusive::set<tenant, intrusive::member_hook<tenant, intrusive::set_member_hook<>, &tenant::giver_hook>,
                   intrusive::key_of_value<rank_of_tenant>>
        givers_;
};

} // namespace

std::unique_ptr<eviction_policy> make_isolated_lru(std::shared_ptr<const quota_table> quotas)
{
    return std::make_unique<isolated_lru>(std::move(quotas));
}

} // namespace terrace
