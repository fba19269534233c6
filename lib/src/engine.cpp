#include "engine.hpp"

#include "base/batch.hpp"

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <fmt/format.h>
#include <random>
#include <stdexcept>

#include <terrace/text_options.hpp>

namespace terrace::detail {
namespace {

void check_adapter(const l2_adapter* adapter, const adapter_options& options)
{
    if (adapter == nullptr)
        throw std::invalid_argument("add_adapter: the adapter is null; expected an l2_adapter");
    terrace::check(options);
}

std::uint64_t share_of(std::uint64_t bytes, double share)
{
    return share == 1 ? bytes : static_cast<std::uint64_t>(static_cast<double>(bytes) * share);
}

std::unique_ptr<eviction_policy> make_policy(const eviction_config& cfg)
{
    if (!cfg.make_policy)
        return eviction_policy::make(cfg.policy, cfg.quotas);
    auto policy = cfg.make_policy();
    if (policy == nullptr)
        throw std::invalid_argument("eviction.make_policy returned null; expected an eviction_policy");
    return policy;
}

std::shared_ptr<l1_cache> make_l1(const config& cfg)
{
    terrace::check(cfg);
    return std::make_shared<l1_cache>(cfg.l1, make_policy(cfg.eviction),
                                      share_of(cfg.l1.capacity_bytes, cfg.eviction.high_watermark));
}

/// How closing some adapters goes, for whoever still waits for it.
struct closing {
    closing(const asio::any_io_executor& executor, std::size_t adapters) : changed{executor}, left{adapters} {}
    event changed;
    std::size_t left;
    std::exception_ptr error; // the first
};

/// A task of its own, so that a caller who gives up leaves no adapter half closed.
asio::awaitable<void> close_when_idle(std::shared_ptr<adapter_slot> slot, std::shared_ptr<closing> result)
{
    try {
        // close() asks what hangs to stop. Who only waits for it to stop goes on waiting, or the adapter stays open.
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation{});
        co_await slot->idle();
        co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation{});
        slot->closed = true;
        co_await slot->adapter().close();
        slot->journal.closed();
    } catch (...) {
        slot->journal.close_failed(std::current_exception());
        if (!result->error)
            result->error = std::current_exception();
    }
    slot->gone = true;
    --result->left;
    result->changed.notify_all();
}

} // namespace

std::shared_ptr<engine> engine::make(asio::any_io_executor executor, config cfg)
{
    if (!executor)
        throw std::invalid_argument("the executor is empty; expected that of an io_context or a strand");
    auto e = std::make_shared<engine>(std::move(executor), cfg);
    e->context.owner = e;
    e->context.l1->listen(e);
    if (cfg.eviction.quotas != nullptr)
        cfg.eviction.quotas->listen(e);
    e->log_start(cfg);
    return e;
}

engine::engine(asio::any_io_executor executor, const config& cfg)
    : context{executor, cfg.clock != nullptr ? cfg.clock : make_system_clock(executor), make_l1(cfg),
              cfg.random_seed ? *cfg.random_seed : std::random_device{}(), cfg.log},
      room{context, [this] { return stores.held_bytes(); }},
      stores{context, cfg.store, cfg.prefetch_limits.window_bytes},
      chain{context, room, cfg},
      eviction{context, share_of(cfg.l1.capacity_bytes, cfg.eviction.low_watermark)},
      ledger{context.l1},
      pins{context, share_of(cfg.l1.capacity_bytes, cfg.pinned_limit)},
      close_timeout_{cfg.close_timeout},
      hook_{cfg.l1.hook},
      closed_{executor}
{
}

// ---- what the log hears ----------------------------------------------------------------------------------------

void engine::log_start(const config& cfg) noexcept
{
    if (!context.log.wanted())
        return;
    const l1_status l1 = context.l1->status();
    context.log.write(log_events::started, [&] {
        return log_text{fmt::format("L1 has {} of {}; policies: eviction {}, prefetch {}, store {}",
                                    format_bytes(l1.grown_bytes), format_bytes(l1.capacity_bytes),
                                    cfg.eviction.make_policy ? "of the program's own" : cfg.eviction.policy,
                                    cfg.prefetch->name(), cfg.store->name()),
                        {{"usable_bytes", l1.grown_bytes}, {"capacity_bytes", l1.capacity_bytes}}};
    });
    if (cfg.l1.huge_pages == huge_page_mode::reserved && l1.reserved_huge_page_bytes < l1.grown_bytes)
        context.log.write(log_events::huge_pages_short, [&] {
            return log_text{
                fmt::format("only {} of {} lie in huge pages from the kernel's pool: vm.nr_hugepages is too "
                            "small",
                            format_bytes(l1.reserved_huge_page_bytes), format_bytes(l1.grown_bytes)),
                {{"reserved_bytes", l1.reserved_huge_page_bytes}, {"usable_bytes", l1.grown_bytes}}};
        });
    look_at_hook();
}

void engine::log_end(const std::exception_ptr& error) noexcept
{
    if (!error)
        return context.log.write(log_events::closed, [] {
            return log_text{"the engine is closed, and nothing is left", {}};
        });
    context.log.write(log_events::close_failed, [&] {
        const std::string reason = reason_of(error);
        return log_text{"the engine is closed, but not all as it should: " + reason, {{"reason", reason}}};
    });
}

void engine::look_at_hook() noexcept
{
    if (hook_ == nullptr || !context.log.wanted())
        return;
    try {
        std::string problem = hook_->problem();
        if (std::exchange(hook_problem_, problem) == problem || problem.empty())
            return;
        context.log.write(log_events::memory_hook_problem, [&] { return log_text{problem, {{"reason", problem}}}; });
    } catch (...) { // it is for the log only
    }
}

// ---- requests --------------------------------------------------------------------------------------------------

void engine::check(const prefetch_request& request) const
{
    const std::vector<key_group>& groups = request.groups();
    (void)request_shape{groups, request.trim()}; // refuses what makes no shape
    for (const key_group& group : groups)
        check_layout("prefetch", group.layout());
    if (groups.size() == 1) {
        check_keys("prefetch", groups.front().keys());
    } else {
        std::vector<object_key> keys;
        for (const key_group& group : groups)
            keys.insert(keys.end(), group.keys().begin(), group.keys().end());
        check_keys("prefetch", keys);
    }
    check_readers("prefetch", request.readers());
    if (request.deadline())
        check_deadline("prefetch", *request.deadline());
}

void engine::check_deadline(std::string_view operation, clock::time_point deadline) const
{
    const auto now = context.clock->now();
    if (deadline <= now)
        throw std::invalid_argument(
            fmt::format("{}: the deadline passed {} ns ago; expected one in the future of the engine's clock",
                        operation, std::chrono::nanoseconds{now - deadline}.count()));
}

void engine::throw_if_closed() const
{
    if (refusing_)
        throw boost::system::system_error{errc::closed};
}

asio::awaitable<prefetch_result> engine::prefetch(std::shared_ptr<engine> self, prefetch_request request)
{
    self->check(request);
    self->throw_if_closed();
    prefetch_chain::arrival came = self->chain.receive(request);
    if (auto answer = self->chain.answer_from_l1(request, came))
        co_return std::move(*answer);
    auto chain = self->chain.prefetch(std::move(request), std::move(came));
    co_return co_await cross(self, std::move(chain));
}

asio::awaitable<lookup_ticket> engine::lookup(prefetch_request request)
{
    check(request);
    auto found = co_await chain.look_up(std::move(request));
    co_return lookup_ticket{std::make_unique<lookup_state>(shared_from_this(), std::move(found))};
}

asio::awaitable<write_lease> engine::reserve_write_when_free(std::vector<object_key> keys, memory_layout layout,
                                                             clock::time_point deadline, write_mode mode)
{
    check_keys("reserve_write_when_free", keys);
    check_layout("reserve_write_when_free", layout);
    check_deadline("reserve_write_when_free", deadline);
    auto& l1 = *context.l1;
    room_queue::attempt attempt = [&](l1_cache::on_shortage shortage) {
        return l1.reserve_write(keys, layout, mode, shortage);
    };
    const room_wish wish{keys.size() * l1.rounded(layout.size_bytes()), room_wish::patience::anyone};
    co_return co_await room.reserve(std::move(attempt), wish, deadline);
}

lookup_state::~lookup_state()
{
    if (run != nullptr)
        asio::dispatch(owner->context.executor, [owner = owner, gone = std::move(run)] {});
}

bitmap engine::pin(std::span<const object_key> keys, clock::time_point until)
{
    check_keys("pin", keys);
    check_deadline("pin", until);
    bitmap pinned;
    if (!refusing_ && pins.pin(keys, until, pinned))
        asio::post(context.executor, [self = shared_from_this()] { self->pins.set_alarm(); });
    return pinned.size() == keys.size() ? pinned : bitmap{keys.size()};
}

// ---- adapters --------------------------------------------------------------------------------------------------

adapter_id engine::add_adapter(std::unique_ptr<l2_adapter> adapter, adapter_options options)
{
    check_adapter(adapter.get(), options);
    throw_if_closed();
    const adapter_id id{++last_adapter_};
    auto slot = std::make_shared<adapter_slot>(context.executor, context.log, id, std::move(adapter), options);
    {
        const std::scoped_lock guard{adapters_mutex_};
        context.adapters.add(slot);
        context.l1->offer_commits(true);
    }
    if (refusing_) { // close() came in between, and may not have seen it
        (void)context.adapters.take(id);
        throw_if_closed();
    }
    if (slot->journal.wanted())
        slot->journal.added(slot->adapter().status());
    return id;
}

std::shared_ptr<adapter_slot> engine::take_adapter(adapter_id id)
{
    const std::scoped_lock guard{adapters_mutex_};
    auto slot = context.adapters.take(id);
    if (context.adapters.snapshot()->empty())
        context.l1->offer_commits(false);
    return slot;
}

asio::awaitable<void> engine::remove_adapter(adapter_id id)
{
    throw_if_closed(); // close() closes all that are left
    const auto slot = take_adapter(id);
    if (slot == nullptr)
        throw boost::system::system_error{errc::unknown_adapter,
                                          fmt::format("remove_adapter: id {}", static_cast<std::uint32_t>(id))};
    slot->leaving = true;
    stores.leave(*slot);
    slot->journal.removed();
    adapter_list leaving(1, slot);
    co_await close_adapters(std::move(leaving));
}

asio::awaitable<void> engine::close_adapters(adapter_list slots)
{
    auto result = std::make_shared<closing>(context.executor, slots.size());
    for (const auto& slot : slots)
        context.spawn([&](task_scope::task&) { return close_when_idle(slot, result); });
    bool late = false;
    clock::alarm alarm{*context.clock, [&late, &result] {
                           late = true;
                           result->changed.notify_all();
                       }};
    alarm.set(context.clock->now() + close_timeout_);
    while (result->left != 0 && !late)
        co_await result->changed.wait();
    if (result->left != 0) {
        for (const auto& slot : slots)
            if (!slot->gone)
                slot->journal.close_late(slot->in_flight, close_timeout_);
        throw boost::system::system_error{errc::close_timed_out};
    }
    if (result->error)
        std::rethrow_exception(result->error);
}

// ---- the whole -------------------------------------------------------------------------------------------------

asio::awaitable<void> engine::flush()
{
    context.throw_if_stopping();
    co_await stores.flush();
}

asio::awaitable<void> engine::close()
{
    if (life_ == life::open) {
        life_ = life::closing;
        // On its own, so that a caller who gives up does not leave the engine half closed. Every close() joins it.
        asio::co_spawn(context.executor, shut_down(), [self = shared_from_this()](std::exception_ptr error) {
            self->log_end(error);
            self->close_error_ = std::move(error);
            self->life_ = life::closed;
            self->closed_.notify_all();
        });
    }
    while (life_ != life::closed)
        co_await closed_.wait();
    if (close_error_)
        std::rethrow_exception(close_error_);
}

asio::awaitable<void> engine::shut_down()
{
    refusing_ = true;
    context.stop();
    stores.stop();
    bool idle = co_await context.idle(context.clock->now() + close_timeout_);
    if (!idle) {
        context.tasks.cancel_all(); // what did not end by itself is asked to
        idle = co_await context.idle(context.clock->now() + close_timeout_);
    }
    context.l1->close(); // first: nothing is pinned after that
    ledger.release_all();
    pins.unpin_all();
    pins.set_alarm();
    stores.stop(); // what was committed meanwhile
    adapter_list quiet;
    const auto timed_out = [] { return std::make_exception_ptr(boost::system::system_error{errc::close_timed_out}); };
    std::exception_ptr error;
    if (!idle) // be it with an adapter that has been removed
        error = timed_out();
    auto later = std::make_shared<closing>(context.executor, 0);
    const auto adapters = context.adapters.snapshot();
    for (const auto& slot : *adapters) {
        if (slot->in_flight == 0) {
            quiet.push_back(slot);
            continue;
        }
        // It still works with our memory, and is closed once it does not.
        slot->journal.close_late(slot->in_flight, 2 * close_timeout_);
        error = timed_out();
        context.spawn([&](task_scope::task&) { return close_when_idle(slot, later); });
    }
    try {
        co_await close_adapters(std::move(quiet));
    } catch (...) {
        if (!error)
            error = std::current_exception();
    }
    context.clock->rest();
    if (error)
        std::rethrow_exception(error);
}

void engine::abandon()
{
    if (life_ == life::closed)
        return;
    refusing_ = true;
    context.l1->close();
    asio::post(context.executor, [self = shared_from_this()] {
        if (self->life_ != life::open)
            return;
        self->life_ = life::closed;
        self->context.stop();
        self->stores.stop();
        self->context.tasks.cancel_all();
        self->pins.unpin_all();
        self->pins.set_alarm();
        self->context.clock->rest();
    });
}

engine_status engine::status() const
{
    const flow_counters& c = context.counters;
    engine_status s;
    s.l1 = context.l1->status();
    s.prefetch.in_flight = c.prefetch_in_flight;
    s.prefetch.requests = c.requests;
    s.prefetch.keys = c.keys;
    s.prefetch.l1_hit_keys = c.l1_hit_keys;
    s.prefetch.l2_hit_keys = c.l2_hit_keys;
    s.prefetch.loaded_bytes = c.loaded_bytes;
    s.prefetch.failed_loads = c.failed_loads;
    s.prefetch.joined_keys = c.joined_keys;
    s.prefetch.timed_out = c.timed_out;
    s.prefetch.waiting = chain.waiting();
    s.prefetch.refused = c.refused;
    s.prefetch.l2_locks = c.l2_locks;
    s.prefetch_latency = context.prefetch_latency.snapshot();
    s.store.queued_objects = c.queued_objects;
    s.store.queued_bytes = c.queued_bytes;
    s.store.in_flight = c.stores_in_flight;
    s.store.in_flight_objects = c.store_objects_in_flight;
    s.store.targeted_objects = c.targeted_objects;
    s.store.stored_objects = c.stored_objects;
    s.store.stored_bytes = c.stored_bytes;
    s.store.failed_objects = c.failed_objects;
    s.store.dropped_objects = c.dropped_objects;
    s.store.refused_objects = c.refused_objects;
    s.store.overtaken_objects = c.overtaken_objects;
    s.store.retried_objects = c.retried_objects;
    s.store.declined_objects = c.declined_objects;
    s.store.wanted_objects = c.wanted_objects;
    s.store.policy_errors = c.policy_errors;
    s.store.demoted_objects = c.demoted_objects;
    s.store.demoted_bytes = c.demoted_bytes;
    s.store.failed_demotions = c.failed_demotions;
    for (const auto& slot : *context.adapters.snapshot())
        s.adapters.push_back(slot->status());
    s.internal_errors = c.internal_errors;
    s.log_errors = context.log.lost();
    return s;
}

// ---- what L1 tells, on any thread ------------------------------------------------------------------------------

void engine::on_commit(read_lease fresh, write_mode mode) noexcept
{
    offer({std::move(fresh), mode, store_reason::committed});
}

void engine::on_wanted(read_lease objects, write_mode mode) noexcept
{
    offer({std::move(objects), mode, store_reason::wanted});
}

void engine::offer(store_offer objects) noexcept
{
    if (stores.offer(std::move(objects)))
        asio::post(context.executor, [self = shared_from_this()] { self->stores.take_offers(); });
}

void engine::on_room() noexcept
{
    asio::post(context.executor, [self = shared_from_this()] { self->room.room(); });
}

void engine::on_pressure() noexcept
{
    asio::post(context.executor, [self = shared_from_this()] { self->eviction.on_pressure(); });
}

void engine::on_overdue() noexcept
{
    asio::post(context.executor, [self = shared_from_this()] { self->eviction.on_overdue(); });
}

void engine::on_growth(const l1_growth& how) noexcept
{
    if (!context.log.wanted())
        return;
    if (how.failures_in_a_row == 1)
        context.log.write(log_events::growth_failed, [&] {
            const std::string reason = reason_of(how.failure);
            return log_text{fmt::format("L1 cannot grow, and stays at {} of {}: {}", format_bytes(how.usable_bytes),
                                        format_bytes(context.l1->capacity_bytes()), reason),
                            {{"usable_bytes", how.usable_bytes},
                             {"capacity_bytes", context.l1->capacity_bytes()},
                             {"reason", reason}}};
        });
    if (hook_ != nullptr)
        asio::post(context.executor, [self = shared_from_this()] { self->look_at_hook(); });
}

// ---- what a quota_table tells, on any thread -------------------------------------------------------------------

void engine::on_quotas() noexcept
{
    on_overdue(); // a quota may have become smaller than what its tenant keeps
}

} // namespace terrace::detail
