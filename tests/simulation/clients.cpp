#include "simulation/world.hpp"

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <numeric>

namespace terrace::simulation {

using std::chrono::milliseconds;

asio::awaitable<void> world::client()
{
    while (ok() && operations_ < options_.operations) {
        ++operations_;
        try {
            co_await operate();
        } catch (const boost::system::system_error& e) {
            const bool fair = e.code() == asio::error::operation_aborted || e.code() == errc::closed ||
                              e.code() == errc::unknown_adapter || e.code() == errc::close_timed_out;
            note("{}", e.code().message());
            if (!fair)
                fail(fmt::format("a client got {}", e.what()));
        }
        if (!dice_.one_in(3))
            co_await time_->sleep_for(dice_.up_to(milliseconds{4}));
    }
}

asio::awaitable<void> world::operate()
{
    switch (dice_.below(24)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        return write();
    case 5:
        return write_when_free();
    case 6:
    case 7:
    case 8:
        return read();
    case 9:
    case 10:
    case 11:
    case 12:
        return prefetch();
    case 13:
    case 14:
        return handle();
    case 15:
    case 16:
        return ticket();
    case 17:
        return pin();
    case 18:
        return remove();
    case 19:
        return plug();
    case 20:
        return set_quota();
    case 21:
        return flush();
    case 22:
        return ledger();
    default:
        return maybe_close();
    }
}

/// Some distinct objects of one kind, in order.
world::numbers world::some(std::size_t most)
{
    const std::uint32_t base = truth::objects_of_a_kind * dice_.any({0U, 0U, 1U, 2U});
    const auto first = static_cast<std::uint32_t>(dice_.below(12));
    numbers which(1 + dice_.below(std::min<std::size_t>(most, truth::objects_of_a_kind - first)));
    std::iota(which.begin(), which.end(), base + first);
    return which;
}

/// Whoever writes or asks under another layout is rare, and gets nothing that the others wrote.
const memory_layout& world::layout_for(std::uint32_t n)
{
    return dice_.one_in(12) ? truth::other_layout(n) : truth::layout(n);
}

// ---- writing ---------------------------------------------------------------------------------------------------

asio::awaitable<void> world::fill(write_lease lease, numbers which, memory_layout layout, write_mode mode)
{
    std::uint64_t mine = 0;
    for (std::size_t i = 0; i < lease.size(); ++i) {
        mine += lease.ok(i) == l1_error::none ? 1 : 0;
        check(lease.bytes(i).size() == (lease.ok(i) == l1_error::none ? layout.size_bytes() : 0),
              "a reservation of another size than its layout's");
    }
    staged_ += mine;
    if (dice_.one_in(3))
        co_await time_->sleep_for(dice_.up_to(milliseconds{10}));
    bitmap filled{lease.size()};
    const bool all = dice_.one_in(2);
    const bool abandoned = dice_.one_in(6);
    for (std::size_t i = 0; i < lease.size() && !abandoned; ++i)
        filled.set(i, lease.ok(i) == l1_error::none && (all || dice_.one_in(2)));
    note("  {} {} of {}", abandoned ? "abandons" : "commits", filled.count(), lease.size());
    staged_ -= mine;
    if (!abandoned)
        commit(lease, which, layout, mode, filled);
}

/// And looks at once whether that is what readers see.
void world::commit(write_lease& lease, const numbers& which, const memory_layout& layout, write_mode mode,
                   const bitmap& filled)
{
    std::vector<std::pair<object_key, std::uint64_t>> written;
    filled.for_each_set([&](std::size_t i) {
        const std::uint64_t version = truth_.new_version();
        truth::fill(which[i], version, lease.bytes(i));
        truth_.committed(which[i], version, layout, mode);
        written.emplace_back(truth::key(which[i]), version);
    });
    const std::uint64_t before = manager_.status().l1.committed_objects;
    lease.commit(filled);
    // What a prefetch has brought meanwhile stays, under new_only, and is not stored again.
    if (manager_.status().l1.committed_objects - before == filled.count())
        filled.for_each_set([&](std::size_t i) { commits_.push_back(which[i]); });
    if (closing_ || dice_.one_in(2))
        return;
    for (const auto& [key, version] : written) {
        const auto now = manager_.read({&key, 1});
        if (check(now.size() == 1, "what was committed is not there"))
            check(mode == write_mode::new_only || truth::version(now.bytes(0)) == version,
                  "a reader after an overwrite sees the old bytes");
        verify(now);
    }
}

asio::awaitable<void> world::write()
{
    const auto which = some(6);
    const auto mode = dice_.any({write_mode::new_only, write_mode::new_only, write_mode::update, write_mode::all});
    const auto layout = layout_for(which[0]);
    auto lease = manager_.reserve_write(truth::keys(which), layout, mode);
    note("write {}+{}, mode {}: {} reserved", which[0], which.size(), static_cast<int>(mode), lease.leading());
    co_await fill(std::move(lease), which, layout, mode);
}

asio::awaitable<void> world::write_when_free()
{
    const auto which = some(6);
    const auto layout = layout_for(which[0]);
    const auto deadline = time_->now() + milliseconds{1} + dice_.up_to(milliseconds{50});
    note("write {}+{} when free", which[0], which.size());
    auto names = truth::keys(which);
    struct place_in_line {
        place_in_line(std::list<clock::time_point>& l, clock::time_point until) : line{l}, at{l.insert(l.end(), until)}
        {
        }
        ~place_in_line() { line.erase(at); }
        place_in_line(const place_in_line&) = delete;
        place_in_line& operator=(const place_in_line&) = delete;
        std::list<clock::time_point>& line;
        std::list<clock::time_point>::iterator at;
    };
    write_lease lease;
    {
        const place_in_line me{in_line_, deadline};
        lease = co_await manager_.reserve_write_when_free(std::move(names), layout, deadline);
        const auto now = time_->now();
        check(now >= deadline || std::none_of(in_line_.begin(), me.at, [&](auto until) { return until > now; }),
              "who waited for room was served before somebody who had come earlier");
    }
    check_in_time(deadline);
    co_await fill(std::move(lease), which, layout, write_mode::new_only);
}

// ---- reading ---------------------------------------------------------------------------------------------------

asio::awaitable<void> world::read()
{
    const auto which = some(6);
    read_options options;
    options.readers = 1 + static_cast<std::uint32_t>(dice_.below(3));
    auto lease = manager_.read(truth::keys(which), options);
    note("read {}+{} for {}: {}", which[0], which.size(), options.readers, lease.size());
    co_await use(std::move(lease));
}

asio::awaitable<void> world::use(read_lease lease)
{
    counted_lease held{*this, std::move(lease)};
    if (dice_.one_in(2))
        co_await time_->sleep_for(dice_.up_to(milliseconds{20}));
    if (dice_.one_in(3)) { // the readers are done one after the other
        auto parts = held.split();
        while (!parts.empty()) {
            parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(dice_.below(parts.size())));
            if (dice_.one_in(2))
                co_await time_->sleep_for(dice_.up_to(milliseconds{2}));
        }
    }
}

/// Both groups of a prompt, the second perhaps with a window.
std::vector<key_group> world::groups()
{
    const std::uint32_t first = static_cast<std::uint32_t>(dice_.below(12));
    numbers full(1 + dice_.below(4));
    std::iota(full.begin(), full.end(), first);
    numbers windowed(full.size());
    std::iota(windowed.begin(), windowed.end(), truth::objects_of_a_kind + first);
    std::vector<key_group> both;
    both.emplace_back(truth::keys(full), truth::layout(full[0]));
    both.emplace_back(truth::keys(windowed), truth::layout(windowed[0]));
    if (dice_.one_in(2))
        both.back().set_window_chunks(1 + dice_.below(3));
    return both;
}

prefetch_request world::request()
{
    const bool two_groups = dice_.one_in(4);
    const auto which = some(10);
    prefetch_request r{truth::keys(which), layout_for(which[0])};
    if (two_groups) {
        r = prefetch_request{groups()};
    } else if (which.size() % 2 == 0 && dice_.one_in(4)) { // two ranks
        key_group pairs{truth::keys(which), truth::layout(which[0])};
        pairs.set_keys_per_chunk(2);
        r = prefetch_request{std::vector{std::move(pairs)}};
    }
    r.set_readers(1 + static_cast<std::uint32_t>(dice_.below(3)));
    const auto trim = dice_.any({trim_rule::prefix, trim_rule::prefix, trim_rule::segmented_prefix, trim_rule::sparse});
    if (!r.groups().back().window_chunks())
        r.set_trim(trim);
    if (dice_.one_in(5))
        r.set_lock(lock_mode::no);
    if (dice_.one_in(3))
        r.set_deadline(time_->now() + milliseconds{1} + dice_.up_to(milliseconds{12}));
    r.set_priority(static_cast<int>(dice_.below(3)));
    note("prefetch {}+{}{}", which[0], which.size(), two_groups ? ", two groups" : "");
    return r;
}

asio::awaitable<void> world::prefetch()
{
    auto r = request();
    const expectation from{r};
    auto hits = co_await manager_.prefetch(std::move(r));
    note("  {} hits, {} from L2{}", hits.prefix_hits, hits.l2_hits, hits.timed_out ? ", late" : "");
    check_in_time(from.deadline());
    check_answer(from, hits);
    co_await use(std::move(hits.lease));
}

asio::awaitable<void> world::handle()
{
    auto r = request();
    const expectation from{r};
    auto running = manager_.submit_prefetch(std::move(r));
    const bool streams = dice_.one_in(2);
    if (streams) {
        const std::size_t positions = 1 + dice_.below(4);
        auto early = co_await running.readable(positions);
        note("  {} early", early.size());
        check_early(from, early, positions);
        co_await use(std::move(early));
    }
    co_await time_->sleep_for(dice_.up_to(milliseconds{6}));
    const auto foretold = running.lookup_hits();
    switch (dice_.below(4)) {
    case 0:
        note("  dropped");
        break;
    case 1:
        note("  cancelled");
        running.cancel();
        break;
    case 2:
        if (auto hits = running.poll()) {
            note("  polled: {}", hits->prefix_hits);
            check_answer(from, *hits);
            co_await use(std::move(hits->lease));
        }
        break;
    default: {
        auto hits = co_await running.wait();
        note("  waited: {}", hits.prefix_hits);
        check_answer(from, hits);
        check(!foretold || hits.prefix_hits <= *foretold, "more hits than were foretold");
        co_await use(std::move(hits.lease));
    }
    }
}

asio::awaitable<void> world::ticket()
{
    auto r = request();
    const expectation from{r};
    auto found = co_await manager_.lookup(std::move(r));
    note("  ticket for {}", found.hits());
    check_in_time(from.deadline());
    check(from.usable(found.found()) == found.found() && found.hits() == found.found().count() &&
              found.prefix_hits() == from.hits(found.found()),
          "a ticket for what its trim rule does not give");
    if (dice_.one_in(2))
        co_await time_->sleep_for(dice_.up_to(milliseconds{10}));
    if (dice_.one_in(3))
        co_return;
    auto hits = co_await found.load();
    check_answer(from, hits);
    co_await use(std::move(hits.lease));
}

/// As a server does for a peer that counts by key.
asio::awaitable<void> world::ledger()
{
    const auto which = some(4);
    read_options options;
    options.readers = 2;
    auto lease = manager_.read(truth::keys(which), options);
    auto names = truth::keys(which);
    names.resize(lease.size());
    note("keeps {}", lease.size());
    if (names.empty() || closing_)
        co_return;
    verify(lease);
    manager_.keep(std::move(lease));
    ledger_locks_ += options.readers * names.size();
    const std::uint32_t at_once = dice_.one_in(2) ? options.readers : 1;
    for (std::uint32_t left = options.readers; left != 0; left -= at_once) {
        co_await time_->sleep_for(dice_.up_to(milliseconds{5}));
        if (closing_)
            co_return; // close() has released them
        ledger_locks_ -= at_once * names.size();
        manager_.finish_read(names, at_once);
    }
}

// ---- what else can be done -------------------------------------------------------------------------------------

asio::awaitable<void> world::pin()
{
    const auto which = some(5);
    const auto names = truth::keys(which);
    look_for_pinned();
    switch (dice_.below(4)) {
    case 0:
        note("unpin: {}", manager_.unpin(names).count());
        for (const std::uint32_t n : which)
            pinned_.erase(n);
        break;
    case 1:
        note("touch: {}", manager_.touch(names).count());
        break;
    default: {
        const auto until = time_->now() + milliseconds{1} + dice_.up_to(milliseconds{30});
        const bitmap pinned = manager_.pin(names, until);
        note("pin: {}", pinned.count());
        pinned.for_each_set([&](std::size_t i) {
            auto& last = pinned_[which[i]];
            last = std::max(last, until);
        });
    }
    }
    co_return;
}

/// What is pinned is there.
void world::look_for_pinned()
{
    const auto now = time_->now();
    std::erase_if(pinned_, [&](const auto& p) { return p.second < now; });
    for (const auto& [n, until] : pinned_)
        if (until > now && !closing_)
            check(manager_.read({&truth::key(n), 1}).size() == 1, "what is pinned is not there");
}

asio::awaitable<void> world::remove()
{
    look_for_pinned();
    switch (dice_.below(4)) {
    case 0:
        note("clear by force: {}", manager_.clear(clear_mode::force));
        pinned_.clear();
        break;
    case 1:
        note("clear: {}", manager_.clear(clear_mode::unlocked));
        look_for_pinned();
        break;
    default: {
        const auto which = some(6);
        note("erase: {}", manager_.erase(truth::keys(which)).count());
        for (const std::uint32_t n : which) {
            pinned_.erase(n);
            check(manager_.read({&truth::key(n), 1}).empty(), "what was erased is there");
        }
    }
    }
    co_return;
}

asio::awaitable<void> world::plug()
{
    switch (dice_.below(3)) {
    case 0:
        if (adapters_.size() < 3) {
            note("add an adapter");
            add_adapter();
        }
        break;
    case 1:
        co_await unplug();
        break;
    default:
        if (!honest_ && !adapters_.empty()) {
            fault_control& faults = *adapters_[dice_.below(adapters_.size())].faults;
            note("{}", faults.dead() ? "an adapter comes back" : "an adapter dies");
            faults.dead() ? faults.revive() : faults.kill();
        }
    }
}

asio::awaitable<void> world::unplug()
{
    if (adapters_.empty())
        co_return;
    const auto at = adapters_.begin() + static_cast<std::ptrdiff_t>(dice_.below(adapters_.size()));
    const adapter_id id = at->id;
    adapters_.erase(at);
    note("remove adapter {}", static_cast<std::uint32_t>(id));
    co_await closes(manager_.remove_adapter(id));
}

asio::awaitable<void> world::set_quota()
{
    const auto salt = dice_.any({"", "tenant-a", "tenant-b"});
    const std::uint64_t bytes = 1024 * dice_.below(6);
    note("quota of '{}': {}", salt, bytes);
    if (dice_.one_in(3))
        quotas_->remove(salt);
    else
        quotas_->set(salt, bytes);
    co_return;
}

asio::awaitable<void> world::flush()
{
    note("flush");
    co_await manager_.flush();
    note("  flushed");
}

asio::awaitable<void> world::maybe_close()
{
    if (!closing_ && dice_.one_in(12))
        co_await close();
}

asio::awaitable<void> world::close()
{
    note("close");
    closing_ = true;
    if (!co_await closes(manager_.close()))
        co_return;
    note("  closed");
    const engine_status s = manager_.status();
    check(s.prefetch.in_flight + s.store.in_flight + s.store.queued_objects == 0,
          "close() has returned, and something is still in progress");
}

/// Awaits what closes adapters, and tells of a dead one. False: not all could be closed in time.
asio::awaitable<bool> world::closes(asio::awaitable<void> work)
{
    try {
        co_await std::move(work);
        co_return true;
    } catch (const boost::system::system_error& e) {
        const bool the_adapters = e.code() == boost::system::errc::no_such_device ||
                                  e.code() == boost::system::errc::io_error || e.code() == errc::close_timed_out;
        if (!the_adapters)
            throw;
        note("  {}", e.code().message());
        check(!honest_, "closing failed though no adapter misbehaves");
        co_return false;
    }
}

} // namespace terrace::simulation
