#include "support/plain_policy.hpp"

#include <algorithm>
#include <list>
#include <stdexcept>
#include <utility>

namespace terrace::test {
namespace {

/// By the time of the last use, which is a release, a touch or the admission.
class plain_lru final : public plain_policy {
public:
    void admit(id object, std::uint64_t, const std::string&) override { use(object); }
    void acquire(id object) override
    {
        order_.erase(last_use_.at(object));
        locked_[object] = true;
    }
    void release(id object) override
    {
        locked_.erase(object);
        use(object);
    }
    void touch(id object) override
    {
        if (!locked_.contains(object)) {
            order_.erase(last_use_.at(object));
            use(object);
        }
    }
    void evict(id object) override
    {
        order_.erase(last_use_.at(object));
        last_use_.erase(object);
    }
    std::optional<id> victim() override
    {
        return order_.empty() ? std::nullopt : std::optional{order_.begin()->second};
    }

private:
    void use(id object) { order_[last_use_[object] = ++now_] = object; }

    std::uint64_t now_ = 0;
    std::map<id, std::uint64_t> last_use_;
    std::map<std::uint64_t, id> order_; // of what is not locked
    std::map<id, bool> locked_;
};

/// Algorithm 1 of the paper, with a shelf for what was locked when the hand came by.
class plain_s3fifo final : public plain_policy {
public:
    void admit(id object, std::uint64_t bytes, const std::string&) override
    {
        const auto ghost = ghosts_.find(object);
        const bool remembered = ghost != ghosts_.end() && ghost->second > forgotten_up_to_;
        if (ghost != ghosts_.end())
            ghosts_.erase(ghost);
        objects_[object] = {bytes, 0, false, remembered ? place::main : place::small};
        enqueue(object);
        cache_bytes_ += bytes;
    }
    void acquire(id object) override { objects_.at(object).locked = true; }
    void release(id object) override
    {
        facts& o = objects_.at(object);
        o.locked = false;
        if (o.at == place::shelf_for_small || o.at == place::shelf_for_main) {
            o.at = o.at == place::shelf_for_small ? place::small : place::main;
            enqueue(object);
        }
    }
    void touch(id object) override
    {
        facts& o = objects_.at(object);
        o.frequency = std::min(o.frequency + 1, 3);
    }
    void evict(id object) override
    {
        const auto most = objects_.size() - objects_.size() / 10;
        ghosts_[object] = ++ghosts_ever_;
        if (ghosts_ever_ > most)
            forgotten_up_to_ = std::max(forgotten_up_to_, ghosts_ever_ - most);
        take_out(object);
        cache_bytes_ -= objects_.at(object).bytes;
        objects_.erase(object);
    }
    std::optional<id> victim() override
    {
        for (;;) {
            if (small_.empty() && main_.empty())
                return {};
            if (!small_.empty() && (10 * small_bytes_ >= cache_bytes_ || main_.empty())) {
                const id t = small_.front();
                facts& o = objects_.at(t);
                if (!o.locked && o.frequency <= 1)
                    return t;
                take_out(t);
                const bool promoted = o.locked ? o.frequency > 0 : true;
                if (promoted)
                    o.frequency = 0;
                o.at = promoted ? place::main : place::small;
            } else {
                const id t = main_.front();
                facts& o = objects_.at(t);
                if (!o.locked && o.frequency == 0)
                    return t;
                take_out(t);
                o.frequency = std::max(o.frequency - 1, 0);
            }
            put_back(last_out_);
        }
    }

private:
    enum class place { small, main, shelf_for_small, shelf_for_main };
    struct facts {
        std::uint64_t bytes = 0;
        int frequency = 0;
        bool locked = false;
        place at = place::small;
    };

    void enqueue(id object)
    {
        facts& o = objects_.at(object);
        auto& queue = o.at == place::small ? small_ : main_;
        where_[object] = queue.insert(queue.end(), object);
        if (o.at == place::small)
            small_bytes_ += o.bytes;
    }
    void take_out(id object)
    {
        facts& o = objects_.at(object);
        (o.at == place::small ? small_ : main_).erase(where_.at(object));
        where_.erase(object);
        if (o.at == place::small)
            small_bytes_ -= o.bytes;
        last_out_ = object;
    }
    void put_back(id object)
    {
        facts& o = objects_.at(object);
        if (o.locked)
            o.at = o.at == place::small ? place::shelf_for_small : place::shelf_for_main;
        else
            enqueue(object);
    }

    std::map<id, facts> objects_;
    std::list<id> small_;
    std::list<id> main_;
    std::map<id, std::list<id>::iterator> where_;
    std::uint64_t small_bytes_ = 0;
    std::uint64_t cache_bytes_ = 0;
    id last_out_ = 0;

    std::map<id, std::uint64_t> ghosts_; // when each went, in evictions
    std::uint64_t ghosts_ever_ = 0;
    std::uint64_t forgotten_up_to_ = 0;
};

/// Looks at every tenant each time.
class plain_isolated_lru final : public plain_policy {
public:
    void admit(id object, std::uint64_t bytes, const std::string& salt) override
    {
        owner_[object] = salt;
        bytes_[object] = bytes;
        tenants_[salt].takes += bytes;
        shelve(object);
    }
    void acquire(id object) override { unshelve(object); }
    void release(id object) override { shelve(object); }
    void touch(id object) override
    {
        if (tenant& t = tenant_of(object); t.when.contains(object)) {
            unshelve(object);
            shelve(object);
        }
    }
    void evict(id object) override
    {
        unshelve(object);
        tenant_of(object).takes -= bytes_.at(object);
        owner_.erase(object);
        bytes_.erase(object);
    }
    std::optional<id> victim() override
    {
        const tenant* giver = nullptr;
        for (const auto& [salt, t] : tenants_) // of equals the last by name
            if (!t.order.empty() && (giver == nullptr || claim(t) >= claim(*giver)))
                giver = &t;
        return giver == nullptr ? std::nullopt : std::optional{giver->order.begin()->second};
    }
    std::optional<id> overdue() override
    {
        const auto next = victim();
        return next && excess(tenant_of(*next)) > 0 ? next : std::nullopt;
    }
    void set_quotas(const quotas& all) override
    {
        for (auto& [salt, t] : tenants_)
            t.quota.reset();
        for (const auto& [salt, bytes] : all)
            tenants_[salt].quota = bytes;
    }

private:
    struct tenant {
        std::uint64_t takes = 0;
        std::uint64_t keeps = 0;
        std::optional<std::uint64_t> quota;
        std::map<std::uint64_t, id> order; // of what is not locked, by last use
        std::map<id, std::uint64_t> when;
    };

    static std::uint64_t excess(const tenant& t) { return t.quota && t.keeps > *t.quota ? t.keeps - *t.quota : 0; }
    static std::pair<std::uint64_t, std::uint64_t> claim(const tenant& t) { return std::pair{excess(t), t.takes}; }
    tenant& tenant_of(id object) { return tenants_.at(owner_.at(object)); }
    void shelve(id object)
    {
        tenant& t = tenant_of(object);
        t.order[t.when[object] = ++now_] = object;
        t.keeps += bytes_.at(object);
    }
    void unshelve(id object)
    {
        tenant& t = tenant_of(object);
        t.order.erase(t.when.at(object));
        t.when.erase(object);
        t.keeps -= bytes_.at(object);
    }

    std::map<std::string, tenant> tenants_;
    std::map<id, std::string> owner_;
    std::map<id, std::uint64_t> bytes_;
    std::uint64_t now_ = 0;
};

} // namespace

std::unique_ptr<plain_policy> plain_policy::make(std::string_view name)
{
    if (name == "lru")
        return std::make_unique<plain_lru>();
    if (name == "s3fifo")
        return std::make_unique<plain_s3fifo>();
    if (name == "isolated_lru")
        return std::make_unique<plain_isolated_lru>();
    throw std::invalid_argument{"no plain policy of this name"};
}

} // namespace terrace::test
