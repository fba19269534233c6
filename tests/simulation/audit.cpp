#include "simulation/world.hpp"

#include <algorithm>
#include <numeric>

namespace terrace::simulation {

using std::chrono::milliseconds;

namespace {

/// What adapters and the engine say has left L2, or has not come where it should.
struct lost_so_far {
    explicit lost_so_far(const engine_status& s)
    {
        for (const adapter_entry& a : s.adapters)
            objects += a.self.evicted_objects + a.self.corrupt_objects;
        objects += s.store.failed_demotions;
    }
    friend bool operator==(const lost_so_far&, const lost_so_far&) = default;
    std::uint64_t objects = 0;
};

} // namespace

asio::awaitable<void> world::audit()
{
    note("the audit");
    for (const auto& faults : faults_) {
        faults->clear();
        faults->revive();
    }
    co_await come_to_rest();
    co_await audit_stores();
    const lost_so_far before{manager_.status()};
    const auto stored = co_await contents();
    co_await audit_l1();
    co_await audit_room();
    if (honest_ && demotes() && lost_so_far{manager_.status()} == before) {
        const auto now = co_await contents();
        for (std::size_t n = 0; n < stored.size(); ++n)
            check(!stored[n] || now[n], "an object was lost on its way from one tier to the next");
    }
    co_await audit_lookups();
    if (honest_ && !adapters_.empty()) {
        co_await audit_prefetch();
        co_await audit_ticket();
    }
}

/// Until nothing is in progress, and nothing pinned.
asio::awaitable<void> world::come_to_rest()
{
    constexpr int most_rounds = 400;
    for (int round = 0; round < most_rounds && ok(); ++round) {
        co_await time_->sleep_for(milliseconds{25});
        release_what_hangs();
        const engine_status s = manager_.status();
        if (s.prefetch.in_flight + s.store.in_flight + s.store.queued_objects + s.l1.pinned_objects == 0) {
            co_await time_->sleep_for(milliseconds{250}); // every breaker lets a call try by now
            check_rest();
            co_return;
        }
    }
    fail("it does not come to rest: " + to_json(manager_.status()));
}

std::uint64_t world::taken_in_l1(std::uint64_t bytes) const
{
    return (bytes + l1_alignment_ - 1) / l1_alignment_ * l1_alignment_;
}

asio::awaitable<void> world::write_quietly(std::uint32_t first, std::size_t objects)
{
    numbers which(objects);
    std::iota(which.begin(), which.end(), first);
    const auto layout = truth::layout(first);
    auto lease = manager_.reserve_write(truth::keys(which), layout, write_mode::new_only);
    note("writes {}+{}: {} reserved", first, objects, lease.leading());
    check(lease.reserved().all(), "there is no room though nobody holds any");
    commit(lease, which, layout, write_mode::new_only, lease.reserved());
    co_await flush();
    co_await come_to_rest();
}

/// Memory comes back, and all of it can be had.
asio::awaitable<void> world::audit_l1()
{
    manager_.clear(clear_mode::force);
    const l1_status empty = manager_.status().l1;
    check(empty.used_bytes == 0 && empty.resident_objects == 0, "L1 is cleared, and memory is still in use");
    const std::size_t most = std::min<std::size_t>(truth::objects_of_a_kind,
                                                   empty.capacity_bytes / taken_in_l1(truth::layout(0).size_bytes()));
    co_await write_quietly(0, most);
    if (!evicts_)
        manager_.clear(clear_mode::unlocked);
    co_await write_quietly(truth::objects_of_a_kind, most); // one of these fits wherever one of the others was
    manager_.clear(clear_mode::unlocked);
    check(manager_.status().l1.used_bytes == 0, "nobody holds anything, and memory is still in use");
}

/// Who waits for room is told when there is some.
asio::awaitable<void> world::audit_room()
{
    const auto a_second = time_->now() + std::chrono::seconds{1};
    const auto layout = truth::layout(0);
    numbers all(manager_.status().l1.capacity_bytes / taken_in_l1(layout.size_bytes())); // 32 at most
    std::iota(all.begin(), all.end(), 0U);
    auto names = truth::keys(all);
    auto everything = manager_.reserve_write(names, layout);
    check(everything.reserved().all(), "there is no room though nobody holds any");
    start(release_soon(std::move(everything)));
    const auto mine = co_await manager_.reserve_write_when_free(std::move(names), layout, a_second);
    check(mine.reserved().all() && time_->now() < a_second, "who waits for room is not told of it");
}

asio::awaitable<void> world::release_soon(write_lease held)
{
    const auto mine = std::move(held);
    co_await time_->sleep_for(milliseconds{10});
}

asio::awaitable<std::vector<bool>> world::contents(const plugged& adapter)
{
    std::vector<bool> there(truth::objects);
    list_cursor all;
    const key_page page = co_await adapter.itself->list(std::move(all));
    for (const object_key& key : page.keys)
        there[truth::number(key)] = true;
    co_return there;
}

/// Which objects are in any adapter.
asio::awaitable<std::vector<bool>> world::contents()
{
    std::vector<bool> anywhere(truth::objects);
    for (const plugged& adapter : adapters_) {
        const auto there = co_await contents(adapter);
        for (std::size_t n = 0; n < there.size(); ++n)
            anywhere[n] = anywhere[n] || there[n];
    }
    co_return anywhere;
}

/// What was committed is stored where it should be, if nothing says otherwise.
asio::awaitable<void> world::audit_stores()
{
    const engine_status s = manager_.status();
    const bool all_stored =
        s.store.failed_objects + s.store.dropped_objects + s.store.refused_objects + s.store.declined_objects == 0;
    const bool all_kept = std::ranges::all_of(s.adapters, [](const adapter_entry& a) {
        return a.self.corrupt_objects == 0 && (a.self.capacity_bytes == 0 || a.self.evicted_objects == 0);
    });
    if (!honest_ || !all_stored || !all_kept || adapters_.empty())
        co_return;
    for (const plugged& adapter : adapters_) {
        const auto there = co_await contents(adapter);
        for (std::size_t i = adapter.commits_before; i < commits_.size() && adapter.unlimited && !demotes(); ++i)
            check(there[commits_[i]], "an object counts as stored, and is not there");
    }
}

/// Every adapter is asked again once it works, whatever it did before.
asio::awaitable<void> world::audit_lookups()
{
    manager_.clear(clear_mode::force);
    std::vector<std::uint64_t> before;
    for (const plugged& adapter : adapters_)
        before.push_back(adapter.seen->lookups());
    const auto which = some(3);
    prefetch_request r{truth::keys(which), truth::layout(which[0])};
    const expectation from{r};
    auto hits = co_await manager_.prefetch(std::move(r));
    check_answer(from, hits);
    for (std::size_t i = 0; i < adapters_.size(); ++i)
        check(adapters_[i].seen->lookups() > before[i], "an adapter that works again is not asked");
    hits.lease = {};
    co_await come_to_rest();
}

asio::awaitable<world::l2_content> world::in_l2(const expectation& from)
{
    l2_content keys{from.size()};
    for (const plugged& adapter : adapters_) {
        const auto there = co_await contents(adapter);
        for (std::size_t i = 0; i < from.size(); ++i)
            if (const std::uint32_t n = truth::number(from.keys()[i]); there[n])
                (adapter.seen->stored_as(n) == from.layout(i).fingerprint() ? keys.right : keys.wrong).set(i);
    }
    co_return keys;
}

/// All that L2 has is brought, no more, and it goes as it came.
asio::awaitable<void> world::audit_prefetch()
{
    manager_.clear(clear_mode::force);
    auto r = request();
    r.set_deadline(std::nullopt);
    r.set_lock(lock_mode::yes);
    const bool windowed = r.groups().back().window_chunks().has_value();
    const expectation from{r};
    const engine_status before = manager_.status();
    std::uint64_t needed = 0;
    for (std::size_t i = 0; i < from.size(); ++i)
        needed += taken_in_l1(from.layout(i).size_bytes());
    if (needed > before.l1.capacity_bytes)
        co_return;
    const l2_content there = co_await in_l2(from);
    auto hits = co_await manager_.prefetch(std::move(r));
    note("  {} hits", hits.prefix_hits);
    check_answer(from, hits);
    check(hits.prefix_hits <= from.hits(there.right), "more was brought than L2 has");
    if (there.wrong.none())
        check(hits.found == from.usable(there.right), "not what L2 has was brought");
    else if (!windowed) // a window's keys are chosen before it shows that some are of no use
        check(hits.prefix_hits >= from.hits(there.surely()), "L2 has more than was brought");
    const engine_status during = manager_.status();
    check(during.l1.locks == hits.found.count() * from.readers(), "each reader of each object has one lock");
    co_await use(std::move(hits.lease));
    (void)manager_.read(from.keys()); // whoever wants it again has it stored no more than whoever wanted it first
    co_await come_to_rest();
    const engine_status after = manager_.status();
    check(after.store.targeted_objects == before.store.targeted_objects, "what was loaded is stored again");
    check(retains_ || after.l1.used_bytes == 0, "what was loaded for a request outlives it");
}

/// What a ticket has found stays until it is loaded, whatever becomes of other tickets, and of room in L2.
asio::awaitable<void> world::audit_ticket()
{
    manager_.clear(clear_mode::force);
    const auto which = some(4);
    const auto names = truth::keys(which);
    prefetch_request first{names, truth::layout(which[0])};
    prefetch_request second = first;
    const expectation from{first};
    auto ticket = co_await manager_.lookup(std::move(first));
    {
        const auto another = co_await manager_.lookup(std::move(second));
        check(another.found() == ticket.found(), "two lookups found different things");
    }
    const l2_content there = co_await in_l2(from);
    const bitmap found = from.usable(ticket.found() & there.surely()); // a lookup knows nothing of layouts
    co_await time_->sleep_for(milliseconds{25});
    const std::uint32_t others = which[0] < truth::objects_of_a_kind ? truth::objects_of_a_kind : 0;
    constexpr std::uint32_t as_many = 8;
    for (std::uint32_t begin = others; begin < others + truth::objects_of_a_kind; begin += as_many) {
        numbers fillers(as_many);
        std::iota(fillers.begin(), fillers.end(), begin);
        const auto layout = truth::layout(begin);
        auto lease = manager_.reserve_write(truth::keys(fillers), layout, write_mode::all);
        commit(lease, fillers, layout, write_mode::all, lease.reserved());
        co_await flush();
        co_await time_->sleep_for(milliseconds{25});
        manager_.clear(clear_mode::unlocked);
    }
    auto hits = co_await ticket.load();
    note("  {} of {} found", hits.found.count(), found.count());
    check((found - hits.found).none(), "what a ticket had found was gone when it was loaded");
    hits.lease = {};
    co_await come_to_rest();
}

} // namespace terrace::simulation
