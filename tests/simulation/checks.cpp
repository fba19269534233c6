#include "simulation/world.hpp"

#include <algorithm>
#include <utility>

namespace terrace::simulation {

bool world::check(bool holds, std::string_view what)
{
    ++result_.checks;
    if (!holds)
        fail(std::string{what});
    return holds;
}

void world::check_always()
{
    const engine_status s = manager_.status();
    const auto now = time_->now();
    check(s.l1.used_bytes <= s.l1.capacity_bytes, "L1 is over its capacity");
    check(s.l1.staged_bytes + s.l1.locked_bytes <= s.l1.used_bytes, "more is staged and locked than is used");
    check(s.l1.locks >= held_locks_ + (closing_ ? 0 : ledger_locks_), "a client's lock is gone");
    check(s.l1.staged_objects >= staged_, "a client's staged object is gone");
    check(s.l1.pinned_bytes * 2 <= s.l1.capacity_bytes, "more than its share of L1 is pinned");
    check(s.l1.pinned_objects <= static_cast<std::uint64_t>(
                                     std::ranges::count_if(pinned_, [&](const auto& p) { return p.second >= now; })),
          "a pin has outlived its time");
    const auto& st = s.store;
    check(st.targeted_objects == st.queued_objects + st.in_flight_objects + st.stored_objects + st.failed_objects +
                                     st.dropped_objects + st.refused_objects + st.overtaken_objects,
          "the store flow has lost count of an object");
    check(s.internal_errors == 0, "an exception escaped a task of the engine's");
    for (const adapter_entry& a : s.adapters) {
        check(a.self.capacity_bytes == 0 || a.self.used_bytes <= a.self.capacity_bytes,
              "an adapter is over its capacity");
        if (honest_)
            check(a.errors == 0 && a.timeouts == 0 && a.breaker_trips == 0,
                  "an adapter that did nothing wrong is said to have failed");
    }
}

/// Nobody holds anything, and nothing is in progress.
void world::check_rest()
{
    const engine_status s = manager_.status();
    check(s.l1.locks == 0 && s.l1.locked_objects == 0, "locks are left when nobody holds any");
    check(s.l1.staged_objects == 0 && s.l1.staged_bytes == 0, "objects are staged when nobody writes");
    check(s.prefetch.l2_locks == 0 && s.prefetch.waiting == 0, "a prefetch is left when nobody waits for one");
    for (const plugged& a : adapters_)
        check(a.seen->locks() == 0, "an adapter's lock was not given back");
    for (const salt_usage& tenant : manager_.usage_by_salt())
        check(!tenant.quota_bytes || tenant.kept_bytes <= *tenant.quota_bytes, "a tenant keeps more than its quota");
}

void world::check_nothing_left()
{
    const engine_status s = manager_.status();
    check(s.l1.locks == 0 && s.l1.locked_objects == 0 && s.l1.locked_bytes == 0, "close() left locks");
    check(s.l1.staged_objects == 0 && s.l1.staged_bytes == 0, "close() left staged bytes");
    check(s.l1.pinned_objects == 0, "close() left pins");
    check(s.prefetch.in_flight == 0 && s.prefetch.l2_locks == 0 && s.prefetch.waiting == 0, "close() left a prefetch");
    check(s.store.in_flight == 0 && s.store.queued_objects == 0, "close() left a store");
    check(s.internal_errors == 0, "an exception escaped a task of the engine's");
    for (const adapter_entry& a : s.adapters) {
        check(a.in_flight == 0, "close() left an adapter's call");
        check(a.self.locked_objects == 0 || !honest_, "close() left an adapter's lock"); // a dead one keeps its locks
    }
    for (const auto& seen : watches_)
        check(seen->closed(), "close() left an adapter open");
}

void world::verify(const read_lease& lease)
{
    if (auto problem = truth_.problem(lease); !problem.empty())
        fail(problem);
}

// ---- answers ---------------------------------------------------------------------------------------------------

void world::check_answer(const expectation& from, const prefetch_result& answer)
{
    if (!check(answer.found.size() == from.size(), "an answer of another size than its question"))
        return;
    check(from.usable(answer.found) == answer.found, "an answer has chunks that its trim rule does not give");
    check(answer.prefix_hits == from.hits(answer.found), "prefix_hits is not the length of the prefix found");
    check(answer.l1_hits + answer.l2_hits == answer.found.count(), "a hit is counted for no tier, or for two");
    check(!answer.timed_out || (from.deadline() && *from.deadline() <= time_->now()), "timed out before its deadline");
    const read_lease& lease = answer.lease;
    if (!from.locks()) {
        check(lease.empty(), "a warm request holds locks");
        return;
    }
    if (!check(lease.size() == answer.found.count(), "the lease of an answer does not hold what was found"))
        return;
    check(lease.empty() || lease.readers() == from.readers(), "a lease for another number of readers");
    std::size_t i = 0;
    answer.found.for_each_set([&](std::size_t at) {
        check(lease.key(i) == from.keys()[at], "the lease of an answer holds another object");
        if (auto problem = truth_.problem(lease.key(i), lease.bytes(i), &from.layout(at)); !problem.empty())
            fail(problem);
        ++i;
    });
}

void world::check_early(const expectation& from, const read_lease& early, std::size_t positions)
{
    std::size_t at = 0; // in the request
    for (std::size_t i = 0; i < early.size(); ++i, ++at) {
        while (at < std::min(positions, from.size()) && early.key(i) != from.keys()[at])
            ++at;
        if (!check(at < std::min(positions, from.size()), "what is readable early is not among the first keys"))
            return;
    }
}

void world::check_in_time(std::optional<clock::time_point> deadline)
{
    check(!deadline || time_->now() <= *deadline, "an answer came after its deadline");
}

// ---- what a client holds ---------------------------------------------------------------------------------------

world::counted_lease::counted_lease(world& w, read_lease lease)
    : world_{w},
      lease_{std::move(lease)},
      locks_{count(lease_)}
{
    world_.held_locks_ += locks_;
    world_.verify(lease_);
}

world::counted_lease::~counted_lease()
{
    world_.verify(lease_); // still the same
    world_.held_locks_ -= locks_;
}

std::vector<std::unique_ptr<world::counted_lease>> world::counted_lease::split()
{
    world_.held_locks_ -= std::exchange(locks_, 0);
    std::vector<std::unique_ptr<counted_lease>> parts;
    for (read_lease& part : lease_.split())
        parts.push_back(std::make_unique<counted_lease>(world_, std::move(part)));
    return parts;
}

} // namespace terrace::simulation
