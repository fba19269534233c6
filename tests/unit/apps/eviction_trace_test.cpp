#include "replay/trace_generator.hpp"
#include "support/plain_policy.hpp"

#include <array>
#include <bit>
#include <cstdlib>
#include <deque>
#include <doctest/doctest.h>
#include <random>
#include <unordered_map>
#include <vector>

#include <terrace/eviction_policy.hpp>

using namespace terrace;
using terrace::replay::trace_request;
using terrace::test::plain_policy;

namespace {

constexpr std::size_t tenants = 4;

/// Interned in this order, so that tenants that take the same give in the order of their names.
std::string salt_of(std::size_t tenant)
{
    static const std::array<std::string, tenants> names{"race-0", "race-1", "race-2", "race-3"};
    static const bool interned = [] {
        for (const auto& name : names)
            (void)object_key{"race", chunk_hash::from_number(1), 0, 0, name};
        return true;
    }();
    CHECK(interned);
    return names.at(tenant);
}

/// Which leases the requests of a run hold, and for how long.
enum class locking {
    while_read, ///< each request lets go before the next one
    at_random,  ///< some hold on for as long as dozens of others take; and as many stores hold what was written
};

/// A cache that a trace goes through under a policy and under its plain double, which have to agree on each victim.
class race {
public:
    using id = plain_policy::id;

    race(std::string_view policy, std::uint64_t capacity_bytes, locking how)
        : capacity_{capacity_bytes},
          locking_{how},
          quotas_{std::make_shared<quota_table>()},
          policy_{eviction_policy::make(policy, quotas_)},
          plain_{plain_policy::make(policy)}
    {
    }
    ~race()
    {
        for (auto& [number, o] : objects_)
            policy_->forget(o);
    }

    void run(const trace_request& request)
    {
        ++requests_;
        std::size_t tenant = static_cast<std::size_t>(std::countr_zero(
            (request.hash_ids[std::min<std::size_t>(3, request.hash_ids.size() - 1)] * 0x9e3779b97f4a7c15U) >> 40));
        tenant = std::min(tenant, tenants - 1);

        std::vector<id> chain;
        std::uint64_t tokens = request.input_tokens;
        for (const std::uint64_t block : request.hash_ids) {
            const id number = block * tenants + tenant;
            bytes_.try_emplace(number, std::min(tokens, replay::block_tokens));
            tokens -= std::min(tokens, replay::block_tokens);
            chain.push_back(number);
        }
        blocks_ += chain.size();

        std::vector<id> lease; // the hits, then what is computed and written
        std::size_t hits = 0;
        for (; hits < chain.size() && objects_.contains(chain[hits]); ++hits) {
            lock(chain[hits]);
            lease.push_back(chain[hits]);
            policy_->touch(objects_.at(chain[hits]));
            plain_->touch(chain[hits]);
        }
        hits_ += hits;

        std::vector<id> fresh;
        std::uint64_t staged = 0;
        for (std::size_t i = hits; i < chain.size(); ++i) {
            if (objects_.contains(chain[i]))
                continue;
            if (!make_room(staged + bytes_.at(chain[i])))
                break;
            staged += bytes_.at(chain[i]);
            fresh.push_back(chain[i]);
        }
        for (std::size_t i = fresh.size(); i-- > 0;)
            admit(fresh[i], tenant);
        std::vector<id> stored;
        if (locking_ == locking::at_random && below(4) == 0) {
            for (const id number : fresh)
                lock(number);
            stored = fresh;
        }
        release_later(std::move(lease));
        release_later(std::move(stored));
        drain_overdue();
    }

    void set_quota(std::size_t tenant, std::uint64_t bytes)
    {
        quotas_->set(salt_of(tenant), bytes);
        plain_quotas_[salt_of(tenant)] = bytes;
        plain_->set_quotas(plain_quotas_);
        drain_overdue();
    }

    void end()
    {
        while (!held_.empty())
            release_first();
        drain_overdue();
        while (evict(policy_->victim(), plain_->victim())) {
        }
        CHECK(objects_.empty());
    }

    [[nodiscard]] std::uint64_t hits() const { return hits_; }
    [[nodiscard]] std::uint64_t blocks() const { return blocks_; }
    [[nodiscard]] std::uint64_t evicted() const { return evicted_; }
    [[nodiscard]] std::uint64_t kept_bytes(std::size_t tenant) const
    {
        for (const salt_usage& u : policy_->usage())
            if (u.salt == salt_of(tenant))
                return u.kept_bytes;
        return 0;
    }

private:
    struct object : evictable {
        std::uint32_t locks = 0;
    };
    struct held_lease {
        std::uint64_t until_request;
        std::vector<id> objects;
    };

    std::uint64_t below(std::uint64_t n) { return random_() % n; }

    void admit(id number, std::size_t tenant)
    {
        object& o = objects_[number];
        o.key = object_key{"race", chunk_hash::from_number(number), 0, 0, salt_of(tenant)};
        o.bytes = bytes_.at(number);
        used_ += o.bytes;
        policy_->admit(o);
        plain_->admit(number, o.bytes, salt_of(tenant));
    }

    void lock(id number)
    {
        object& o = objects_.at(number);
        if (o.locks++ != 0)
            return;
        policy_->acquire(o);
        plain_->acquire(number);
    }

    void release_later(std::vector<id> lease)
    {
        const bool later = locking_ == locking::at_random && below(8) == 0;
        held_.push_back({requests_ + (later ? below(60) : 0), std::move(lease)});
        while (!held_.empty() && held_.front().until_request <= requests_)
            release_first();
    }

    void release_first()
    {
        const std::vector<id> lease = std::move(held_.front().objects);
        held_.pop_front();
        for (std::size_t i = lease.size(); i-- > 0;) {
            object& o = objects_.at(lease[i]);
            if (--o.locks != 0)
                continue;
            policy_->release(o);
            plain_->release(lease[i]);
        }
    }

    bool make_room(std::uint64_t bytes)
    {
        if (bytes > capacity_)
            return false;
        while (used_ + bytes > capacity_)
            if (!evict(policy_->victim(), plain_->victim()))
                return false;
        return true;
    }

    void drain_overdue()
    {
        while (evict(policy_->overdue(), plain_->overdue())) {
        }
    }

    bool evict(evictable* victim, std::optional<id> expected)
    {
        if ((victim != nullptr) != expected.has_value())
            FAIL((victim == nullptr ? "no victim" : "a victim too many"), " after ", evicted_, " evictions");
        if (victim == nullptr)
            return false;
        auto& o = static_cast<object&>(*victim);
        const id number = *expected;
        if (&o != &objects_.at(number))
            FAIL("victim ", o.key.to_string(), ", expected ", objects_.at(number).key.to_string(), " after ", evicted_,
                 " evictions");
        if (o.locks != 0)
            FAIL("a locked victim");
        ++evicted_;
        used_ -= o.bytes;
        policy_->forget(o);
        plain_->evict(number);
        objects_.erase(number);
        return true;
    }

    const std::uint64_t capacity_;
    const locking locking_;
    std::shared_ptr<quota_table> quotas_;
    std::unordered_map<id, object> objects_; // which the policies know
    std::unique_ptr<eviction_policy> policy_;
    std::unique_ptr<plain_policy> plain_;
    plain_policy::quotas plain_quotas_;

    std::unordered_map<id, std::uint64_t> bytes_;
    std::deque<held_lease> held_;
    std::uint64_t used_ = 0;
    std::uint64_t requests_ = 0;
    std::uint64_t blocks_ = 0;
    std::uint64_t hits_ = 0;
    std::uint64_t evicted_ = 0;
    std::mt19937_64 random_{1};
};

std::vector<trace_request> the_trace()
{
    if (const char* file = std::getenv("TERRACE_TRACE"))
        return replay::read_trace(file);
    return replay::generate_trace({.conversations = 500, .arrivals_per_second = 5});
}

std::vector<std::uint64_t> capacities_in_blocks()
{
    if (std::getenv("TERRACE_TRACE") != nullptr)
        return {1'000, 3'000, 10'000, 30'000, 100'000};
    return {3, 200, 2'000};
}

} // namespace

TEST_CASE("eviction: each policy picks on a trace what its plain double picks")
{
    const auto trace = the_trace();
    for (const std::string_view policy : {"lru", "s3fifo", "isolated_lru"})
        for (const locking how : {locking::while_read, locking::at_random})
            for (const std::uint64_t blocks : capacities_in_blocks()) {
                CAPTURE(policy);
                CAPTURE(blocks);
                CAPTURE((how == locking::at_random));
                race r{policy, blocks * replay::block_tokens, how};
                for (const trace_request& request : trace)
                    r.run(request);
                const std::uint64_t hits = r.hits();
                CHECK(r.evicted() > 0);
                r.end();
                if (std::getenv("TERRACE_TRACE") != nullptr) {
                    const std::string locks = how == locking::at_random ? ", locks held at random" : "";
                    MESSAGE(std::string{policy}, locks, ", ", blocks, " blocks: ", hits, " hits of ", r.blocks());
                }
            }
}

TEST_CASE("eviction: quotas that are set, lowered and zero pick on a trace what the plain double picks")
{
    const auto trace = the_trace();
    const std::uint64_t capacity = capacities_in_blocks().at(1) * replay::block_tokens;
    for (const locking how : {locking::while_read, locking::at_random}) {
        race r{"isolated_lru", capacity, how};
        r.set_quota(0, capacity / 4);
        r.set_quota(2, 0);
        for (std::size_t i = 0; i < trace.size(); ++i) {
            if (i == trace.size() / 2)
                r.set_quota(0, capacity / 16);
            if (i == trace.size() * 3 / 4)
                r.set_quota(1, capacity / 8);
            r.run(trace[i]);
            const bool lowered = i >= trace.size() / 2;
            if (r.kept_bytes(0) > capacity / (lowered ? 16 : 4) || r.kept_bytes(2) != 0)
                FAIL("over a quota after request ", i);
        }
        CHECK(r.evicted() > 0);
        r.end();
    }
}
