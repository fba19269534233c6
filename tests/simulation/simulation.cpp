#include "simulation/simulation.hpp"

#include "simulation/truth.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <chrono>
#include <fmt/format.h>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#include <terrace/fault_adapter.hpp>
#include <terrace/memory_adapter.hpp>
#include <terrace/terrace.hpp>

namespace terrace::simulation {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

/// Chance, all from one seed.
class dice {
public:
    explicit dice(std::uint64_t seed) : random_{seed} {}
    std::uint64_t below(std::uint64_t n) { return std::uniform_int_distribution<std::uint64_t>{0, n - 1}(random_); }
    bool one_in(std::uint64_t n) { return below(n) == 0; }
    template <class T, std::size_t N>
    T any(const T (&choices)[N])
    {
        return choices[below(N)];
    }
    milliseconds up_to(milliseconds most) { return milliseconds{below(static_cast<std::uint64_t>(most.count()) + 1)}; }

private:
    std::mt19937_64 random_;
};

class world {
public:
    explicit world(const run_options& options)
        : options_{options},
          dice_{options.seed},
          manager_{io_.get_executor(), make_config()}
    {
        const std::size_t adapters = dice_.below(4);
        for (std::size_t i = 0; i < adapters; ++i)
            add_adapter();
    }

    run_result run()
    {
        const std::size_t clients = 1 + dice_.below(5);
        for (std::size_t i = 0; i < clients; ++i)
            start(client());
        run_until([this] { return active_ == 0; }, "clients");
        if (ok() && !closing_) {
            start(flush());
            run_until([this] { return active_ == 0; }, "flush()");
            if (ok())
                check_rest();
        }
        if (ok()) {
            start(close());
            run_until([this] { return active_ == 0; }, "close()");
        }
        do
            settle(); // what outlived close() ends when its adapter lets it
        while (release_what_hangs() || time_->advance_to_next_alarm());
        if (ok())
            check_nothing_left();
        result_.digest = digest_;
        return result_;
    }

private:
    // ---- the world ----

    config make_config()
    {
        config cfg;
        cfg.l1.capacity_bytes = 4096 * (2 + dice_.below(7)); // of objects of 1 KiB and less
        cfg.l1.alignment_bytes = dice_.any({64U, 1024U});
        cfg.l1.huge_pages = huge_page_mode::off;
        cfg.eviction.policy = dice_.any({"lru", "s3fifo", "isolated_lru", "none"});
        cfg.eviction.high_watermark = dice_.any({0.6, 0.9, 1.0});
        cfg.eviction.low_watermark = 0.5;
        cfg.eviction.quotas = quotas_;
        cfg.prefetch = prefetch_policy::make(dice_.any({"default", "retain"}));
        cfg.store = store_policy::make(dice_.any(
            {"default", "default", "skip_l1", "second_touch?history=8", "write_budget?rate=64KiB", "tiered"}));
        cfg.prefetch_limits.window_bytes = dice_.any({1024ULL, 16ULL << 20});
        cfg.prefetch_limits.requests_in_flight = dice_.any({1U, 2U, 256U});
        cfg.prefetch_limits.requests_waiting = dice_.any({2U, 4096U});
        cfg.prefetch_limits.room_timeout = dice_.any({milliseconds{20}, milliseconds{5000}});
        cfg.late_loads = dice_.any({late_load_policy::admit, late_load_policy::discard});
        cfg.close_timeout = milliseconds{10'000};
        cfg.clock = time_;
        cfg.random_seed = options_.seed;
        return cfg;
    }

    void add_adapter()
    {
        memory_options memory;
        memory.clock = time_;
        memory.capacity_bytes = dice_.any({0ULL, 8192ULL, 65'536ULL});
        memory.latency = microseconds{dice_.any({0, 1, 200, 5000})};
        memory.eviction = dice_.any({"lru", "s3fifo"});
        adapter_options options;
        options.lookup_timeout = dice_.any({milliseconds{4}, milliseconds{1000}});
        options.load_timeout = dice_.any({milliseconds{4}, milliseconds{1000}});
        options.store_timeout = dice_.any({milliseconds{4}, milliseconds{1000}});
        options.stores_in_flight = dice_.any({1U, 4U});
        options.stores_beside_loads = dice_.any({0U, 1U});
        options.store_window_bytes = dice_.any({1ULL, 4096ULL, 16ULL << 20});
        options.store_queue_bytes = dice_.any({0ULL, 2048ULL});
        options.store_queue_full =
            dice_.any({full_queue_policy::wait, full_queue_policy::drop_oldest, full_queue_policy::refuse});
        options.store_retries.give_up_after = milliseconds{500};
        options.breaker.failures = dice_.any({1U, 5U});
        options.breaker.cool_down = milliseconds{20};
        options.breaker.max_cool_down = milliseconds{200};
        auto faults = std::make_shared<fault_control>(dice_.below(1'000'000), time_);
        while (dice_.one_in(2)) {
            try {
                faults->add(any_fault());
            } catch (const std::invalid_argument&) {
                // an effect that these calls cannot have
            }
        }
        faults_.push_back(faults);
        auto adapter = make_fault_adapter(std::make_unique<memory_adapter>(memory), faults);
        ids_.push_back(manager_.add_adapter(std::move(adapter), options));
    }

    fault_rule any_fault()
    {
        fault_rule rule{
            dice_.any({fault_calls::lookup, fault_calls::load, fault_calls::store, fault_calls::unlock,
                       fault_calls::erase | fault_calls::lock_victims, fault_calls::lookup | fault_calls::load,
                       fault_calls::load | fault_calls::store}),
            // Not corruption: only a checksum sees that, and the memory adapter has none.
            dice_.any({fault_effect::delay, fault_effect::delay, fault_effect::throw_error, fault_effect::lose_answer,
                       fault_effect::hang, fault_effect::hang_deaf, fault_effect::fail_items, fault_effect::drop_items,
                       fault_effect::wrong_size, fault_effect::die})};
        rule.probability = dice_.any({0.02, 0.2, 1.0});
        rule.item_probability = dice_.any({0.2, 1.0});
        rule.delay = dice_.up_to(milliseconds{20});
        rule.from = dice_.up_to(milliseconds{100});
        if (rule.probability == 1)
            rule.until = rule.from + dice_.up_to(milliseconds{50});
        return rule;
    }

    /// What hangs does not do so for ever, or nothing could be expected of it.
    bool release_what_hangs()
    {
        bool any = false;
        for (const auto& faults : faults_)
            if (faults->counts().hanging != 0) {
                faults->release();
                any = true;
            }
        return any;
    }

    void start(asio::awaitable<void> work)
    {
        ++active_;
        asio::co_spawn(io_, std::move(work), [this](std::exception_ptr error) {
            --active_;
            if (error)
                fail(describe(error));
        });
    }

    template <class Done>
    void run_until(Done done, std::string_view what)
    {
        while (ok() && !done()) {
            io_.restart();
            if (io_.poll_one() != 0) {
                ++result_.handlers;
                check_always();
            } else if (!time_->advance_to_next_alarm()) {
                fail(fmt::format("{} wait for ever: {}", what, to_json(manager_.status())));
            }
        }
    }

    void settle()
    {
        io_.restart();
        while (io_.poll() != 0)
            io_.restart();
    }

    // ---- telling ----

    [[nodiscard]] bool ok() const { return result_.failure.empty(); }
    void fail(std::string why)
    {
        if (ok())
            result_.failure = std::move(why);
    }
    template <class... T>
    void note(fmt::format_string<T...> format, T&&... values)
    {
        const std::string line = fmt::format(format, std::forward<T>(values)...);
        const auto now = time_->now().time_since_epoch().count();
        for (const char c : line)
            digest_ = (digest_ ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
        digest_ = (digest_ ^ static_cast<std::uint64_t>(now)) * 0x100000001b3U;
        if (options_.tell)
            fmt::print(stderr, "{:>12} us  {}\n", now / 1000, line);
    }
    static std::string describe(const std::exception_ptr& error)
    {
        try {
            std::rethrow_exception(error);
        } catch (const std::exception& e) {
            return fmt::format("a client got {}", e.what());
        } catch (...) {
            return "a client got something thrown";
        }
    }

    // ---- checks ----

    void check(bool holds, std::string_view what)
    {
        ++result_.checks;
        if (!holds)
            fail(std::string{what});
    }

    void check_always()
    {
        const engine_status s = manager_.status();
        check(s.l1.used_bytes <= s.l1.capacity_bytes, "L1 is over its capacity");
        check(s.l1.staged_bytes + s.l1.locked_bytes <= s.l1.used_bytes, "more is staged and locked than is used");
        check(s.l1.locks >= held_locks_, "a client's lock is gone");
        check(s.l1.staged_objects >= staged_, "a client's staged object is gone");
        const auto& st = s.store;
        check(st.targeted_objects == st.queued_objects + st.in_flight_objects + st.stored_objects + st.failed_objects +
                                         st.dropped_objects + st.refused_objects,
              "the store flow has lost count of an object");
        check(s.internal_errors == 0, "an exception escaped a task of the engine's");
        for (const adapter_entry& a : s.adapters)
            check(a.self.capacity_bytes == 0 || a.self.used_bytes <= a.self.capacity_bytes,
                  "an adapter is over its capacity");
    }

    /// All clients are gone, and all stores done.
    void check_rest()
    {
        const engine_status s = manager_.status();
        if (s.prefetch.in_flight + s.store.in_flight + s.store.queued_objects != 0)
            return; // a call has outlived its request, with the memory that it uses
        check(s.l1.locks == s.l1.pinned_objects, "locks are left when nobody holds any");
        check(s.l1.staged_objects == 0, "objects are staged when nobody writes");
    }

    void check_nothing_left()
    {
        const engine_status s = manager_.status();
        check(s.l1.locks == 0 && s.l1.locked_objects == 0 && s.l1.locked_bytes == 0, "close() left locks");
        check(s.l1.staged_objects == 0 && s.l1.staged_bytes == 0, "close() left staged bytes");
        check(s.l1.pinned_objects == 0, "close() left pins");
        check(s.prefetch.in_flight == 0 && s.prefetch.l2_locks == 0 && s.prefetch.waiting == 0,
              "close() left a prefetch");
        check(s.store.in_flight == 0 && s.store.queued_objects == 0, "close() left a store");
        check(s.internal_errors == 0, "an exception escaped a task of the engine's");
        for (const adapter_entry& a : s.adapters) {
            check(a.in_flight == 0, "close() left an adapter's call");
            check(a.self.locked_objects == 0 || a.self.health == adapter_health::failed,
                  "close() left an adapter's lock");
        }
    }

    // ---- what a client holds ----

    /// Counts what a lease holds, for as long as it does.
    class counted_lease {
    public:
        counted_lease(world& w, read_lease lease) : world_{w}, lease_{std::move(lease)}, locks_{count(lease_)}
        {
            world_.held_locks_ += locks_;
            world_.verify(lease_);
        }
        ~counted_lease()
        {
            world_.verify(lease_); // still the same
            world_.held_locks_ -= locks_;
        }
        counted_lease(const counted_lease&) = delete;
        counted_lease& operator=(const counted_lease&) = delete;
        /// One for each reader, each counted for itself.
        [[nodiscard]] std::vector<std::unique_ptr<counted_lease>> split()
        {
            world_.held_locks_ -= std::exchange(locks_, 0);
            std::vector<std::unique_ptr<counted_lease>> parts;
            for (read_lease& part : lease_.split())
                parts.push_back(std::make_unique<counted_lease>(world_, std::move(part)));
            return parts;
        }

    private:
        static std::uint64_t count(const read_lease& lease) { return lease.size() * lease.readers(); }
        world& world_;
        read_lease lease_;
        std::uint64_t locks_;
    };

    void verify(const read_lease& lease)
    {
        if (auto problem = truth_.problem(lease); !problem.empty())
            fail(problem);
    }

    // ---- clients ----

    asio::awaitable<void> client()
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

    asio::awaitable<void> operate()
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

    /// Some distinct objects of one layout, in order.
    std::vector<std::uint32_t> some(std::size_t most)
    {
        const auto base = static_cast<std::uint32_t>(16 * dice_.below(2));
        const auto first = static_cast<std::uint32_t>(dice_.below(12));
        std::vector<std::uint32_t> numbers(1 + dice_.below(std::min<std::size_t>(most, 16 - first)));
        std::iota(numbers.begin(), numbers.end(), base + first);
        return numbers;
    }
    static std::vector<object_key> keys(const std::vector<std::uint32_t>& numbers)
    {
        std::vector<object_key> result;
        for (const std::uint32_t n : numbers)
            result.push_back(truth::key(n));
        return result;
    }

    asio::awaitable<void> fill(write_lease lease, std::vector<std::uint32_t> numbers)
    {
        std::uint64_t mine = 0;
        for (std::size_t i = 0; i < lease.size(); ++i)
            mine += lease.ok(i) == l1_error::none ? 1 : 0;
        staged_ += mine;
        if (dice_.one_in(3))
            co_await time_->sleep_for(dice_.up_to(milliseconds{10}));
        bitmap filled{lease.size()};
        const bool all = dice_.one_in(2);
        const bool abandoned = dice_.one_in(6);
        for (std::size_t i = 0; i < lease.size() && !abandoned; ++i) {
            if (lease.ok(i) != l1_error::none || !(all || dice_.one_in(2)))
                continue;
            const std::uint64_t version = truth_.new_version();
            truth::fill(numbers[i], version, lease.bytes(i));
            truth_.committed(numbers[i], version);
            filled.set(i);
        }
        note("  {} {} of {}", abandoned ? "abandons" : "commits", filled.count(), lease.size());
        staged_ -= mine;
        if (!abandoned)
            lease.commit(filled);
    }

    asio::awaitable<void> write()
    {
        const auto numbers = some(6);
        const auto mode = dice_.any({write_mode::new_only, write_mode::new_only, write_mode::update, write_mode::all});
        auto lease = manager_.reserve_write(keys(numbers), truth::layout(numbers[0]), mode);
        note("write {}+{}, mode {}: {} reserved", numbers[0], numbers.size(), static_cast<int>(mode), lease.leading());
        co_await fill(std::move(lease), numbers);
    }

    asio::awaitable<void> write_when_free()
    {
        const auto numbers = some(6);
        auto names = keys(numbers);
        const auto deadline = time_->now() + milliseconds{1} + dice_.up_to(milliseconds{50});
        note("write {}+{} when free", numbers[0], numbers.size());
        auto lease = co_await manager_.reserve_write_when_free(std::move(names), truth::layout(numbers[0]), deadline);
        co_await fill(std::move(lease), numbers);
    }

    asio::awaitable<void> read()
    {
        const auto numbers = some(6);
        read_options options;
        options.readers = 1 + static_cast<std::uint32_t>(dice_.below(3));
        auto lease = manager_.read(keys(numbers), options);
        note("read {}+{} for {}: {}", numbers[0], numbers.size(), options.readers, lease.size());
        co_await use(std::move(lease));
    }

    asio::awaitable<void> use(read_lease lease)
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

    prefetch_request request()
    {
        const auto numbers = some(10);
        prefetch_request r{keys(numbers), truth::layout(numbers[0])};
        r.set_readers(1 + static_cast<std::uint32_t>(dice_.below(3)));
        r.set_trim(dice_.any({trim_rule::prefix, trim_rule::prefix, trim_rule::segmented_prefix, trim_rule::sparse}));
        if (dice_.one_in(5))
            r.set_lock(lock_mode::no);
        if (dice_.one_in(3))
            r.set_deadline(time_->now() + milliseconds{1} + dice_.up_to(milliseconds{12}));
        r.set_priority(static_cast<int>(dice_.below(3)));
        note("prefetch {}+{}", numbers[0], numbers.size());
        return r;
    }

    asio::awaitable<void> prefetch()
    {
        auto r = request();
        auto hits = co_await manager_.prefetch(std::move(r));
        note("  {} hits, {} from L2{}", hits.prefix_hits, hits.l2_hits, hits.timed_out ? ", late" : "");
        co_await use(std::move(hits.lease));
    }

    asio::awaitable<void> handle()
    {
        auto r = request();
        auto running = manager_.submit_prefetch(std::move(r));
        const bool streams = dice_.one_in(2);
        if (streams) {
            auto early = co_await running.readable(1 + dice_.below(4));
            note("  {} early", early.size());
            co_await use(std::move(early));
        }
        co_await time_->sleep_for(dice_.up_to(milliseconds{6}));
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
                co_await use(std::move(hits->lease));
            }
            break;
        default: {
            auto hits = co_await running.wait();
            note("  waited: {}", hits.prefix_hits);
            co_await use(std::move(hits.lease));
        }
        }
    }

    asio::awaitable<void> ticket()
    {
        auto r = request();
        auto found = co_await manager_.lookup(std::move(r));
        note("  ticket for {}", found.hits());
        if (dice_.one_in(2))
            co_await time_->sleep_for(dice_.up_to(milliseconds{10}));
        if (dice_.one_in(3))
            co_return;
        auto hits = co_await found.load();
        co_await use(std::move(hits.lease));
    }

    asio::awaitable<void> pin()
    {
        const auto names = keys(some(5));
        switch (dice_.below(4)) {
        case 0:
            note("unpin: {}", manager_.unpin(names).count());
            break;
        case 1:
            note("touch: {}", manager_.touch(names).count());
            break;
        default:
            note("pin: {}",
                 manager_.pin(names, time_->now() + milliseconds{1} + dice_.up_to(milliseconds{30})).count());
        }
        co_return;
    }

    asio::awaitable<void> remove()
    {
        switch (dice_.below(4)) {
        case 0:
            note("clear by force: {}", manager_.clear(clear_mode::force));
            break;
        case 1:
            note("clear: {}", manager_.clear(clear_mode::unlocked));
            break;
        default:
            note("erase: {}", manager_.erase(keys(some(6))).count());
        }
        co_return;
    }

    asio::awaitable<void> plug()
    {
        if (ids_.size() < 3 && dice_.one_in(2)) {
            note("add an adapter");
            add_adapter();
        } else if (!ids_.empty()) {
            const auto at = ids_.begin() + static_cast<std::ptrdiff_t>(dice_.below(ids_.size()));
            const adapter_id id = *at;
            ids_.erase(at);
            note("remove adapter {}", static_cast<std::uint32_t>(id));
            co_await closes(manager_.remove_adapter(id));
        }
    }

    asio::awaitable<void> set_quota()
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

    asio::awaitable<void> flush()
    {
        note("flush");
        co_await manager_.flush();
        note("  flushed");
    }

    /// As a server does for a peer that counts by key.
    asio::awaitable<void> ledger()
    {
        const auto numbers = some(4);
        read_options options;
        options.readers = 2;
        auto lease = manager_.read(keys(numbers), options);
        auto names = keys(numbers);
        names.resize(lease.size());
        note("keeps {}", lease.size());
        if (names.empty() || closing_)
            co_return;
        verify(lease);
        manager_.keep(std::move(lease));
        for (int i = 0; i < 2; ++i) {
            co_await time_->sleep_for(dice_.up_to(milliseconds{5}));
            if (closing_)
                co_return; // close() has released them
            manager_.finish_read(names);
        }
    }

    asio::awaitable<void> maybe_close()
    {
        if (!closing_ && dice_.one_in(12))
            co_await close();
    }

    asio::awaitable<void> close()
    {
        note("close");
        closing_ = true;
        co_await closes(manager_.close());
        note("  closed");
    }

    /// Awaits what closes adapters, and tells of a dead one.
    asio::awaitable<void> closes(asio::awaitable<void> work)
    {
        try {
            co_await std::move(work);
        } catch (const boost::system::system_error& e) {
            const bool the_adapters = e.code() == boost::system::errc::no_such_device ||
                                      e.code() == boost::system::errc::io_error || e.code() == errc::close_timed_out;
            if (!the_adapters)
                throw;
            note("  {}", e.code().message());
        }
    }

    const run_options options_;
    dice dice_;
    run_result result_;
    std::uint64_t digest_ = 0xcbf29ce484222325U;

    asio::io_context io_{1};
    std::shared_ptr<manual_clock> time_ = std::make_shared<manual_clock>();
    std::shared_ptr<quota_table> quotas_ = std::make_shared<quota_table>();
    truth truth_;
    std::size_t operations_ = 0;
    std::size_t active_ = 0; // clients
    std::uint64_t held_locks_ = 0;
    std::uint64_t staged_ = 0;
    bool closing_ = false;
    std::vector<adapter_id> ids_;
    std::vector<std::shared_ptr<fault_control>> faults_;
    storage_manager manager_;
};

} // namespace

run_result simulate(const run_options& options)
{
    world w{options};
    return w.run();
}

} // namespace terrace::simulation
