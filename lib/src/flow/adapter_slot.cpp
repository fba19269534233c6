#include "flow/adapter_slot.hpp"

#include "base/assert.hpp"

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <utility>

#include <terrace/text_options.hpp>

namespace terrace {

adapter_entry adapter_slot::status() const
{
    adapter_entry e;
    e.id = id_;
    e.self = adapter_->status();
    e.lookups = lookups;
    e.loads = loads;
    e.stores = stores;
    e.unlocks = unlocks;
    e.erases = erases;
    e.errors = errors;
    e.timeouts = timeouts;
    e.in_flight = in_flight;
    e.lookup_latency = lookup_latency.snapshot();
    e.load_latency = load_latency.snapshot();
    e.store_latency = store_latency.snapshot();
    e.breaker_trips = lookup_breaker.trips() + load_breaker.trips() + store_breaker.trips();
    e.health = std::max({e.self.health, lookup_breaker.health(), load_breaker.health(), store_breaker.health()});
    return e;
}

void adapter_slot::know(std::span<std::byte> l1)
{
    if (l1.size() == known_bytes_)
        return;
    known_bytes_ = l1.size();
    adapter_->use_memory(l1);
}

const breaker& adapter_slot::breaker_of(adapter_operation what) const noexcept
{
    switch (what) {
    case adapter_operation::lookup:
    case adapter_operation::unlock:
        return lookup_breaker;
    case adapter_operation::load:
        return load_breaker;
    default:
        TERRACE_ASSERT(what == adapter_operation::store); // the others have none
        return store_breaker;
    }
}

void adapter_slot::look_for_damage(clock::time_point now) noexcept
{
    if (!journal.wanted())
        return;
    try {
        journal.look_for_damage(adapter_->status(), now);
    } catch (...) { // it is for the log only
    }
}

asio::awaitable<void> adapter_slot::idle()
{
    while (in_flight != 0)
        co_await changed_.wait();
}

std::shared_ptr<const adapter_list> adapter_set::snapshot() const
{
    std::scoped_lock guard{mutex_};
    return list_;
}

void adapter_set::add(std::shared_ptr<adapter_slot> slot)
{
    std::scoped_lock guard{mutex_};
    adapter_list grown{*list_};
    grown.push_back(std::move(slot));
    list_ = std::make_shared<const adapter_list>(std::move(grown));
}

std::shared_ptr<adapter_slot> adapter_set::take(adapter_id id)
{
    std::scoped_lock guard{mutex_};
    adapter_list rest{*list_};
    auto it = std::ranges::find(rest, id, &adapter_slot::id);
    if (it == rest.end())
        return nullptr;
    auto taken = *it;
    rest.erase(it);
    list_ = std::make_shared<const adapter_list>(std::move(rest));
    return taken;
}

namespace {

adapter_operation operation_of(counter adapter_slot::*kind) noexcept
{
    if (kind == &adapter_slot::lookups)
        return adapter_operation::lookup;
    if (kind == &adapter_slot::loads)
        return adapter_operation::load;
    if (kind == &adapter_slot::stores)
        return adapter_operation::store;
    return kind == &adapter_slot::unlocks ? adapter_operation::unlock : adapter_operation::erase;
}

} // namespace

adapter_call::adapter_call(std::shared_ptr<adapter_slot> slot, counter adapter_slot::*kind, breaker::permit permit,
                           clock& clock, std::chrono::milliseconds timeout, task_scope::task& me,
                           std::function<void()> on_timeout)
    : slot_{std::move(slot)},
      what_{operation_of(kind)},
      load_{what_ == adapter_operation::load},
      timeout_{timeout},
      started_{clock.now()},
      me_{me},
      on_timeout_{std::move(on_timeout)},
      permit_{std::move(permit)},
      clock_{clock},
      alarm_{clock, [this] { time_is_up(); }}
{
    alarm_.set(started_ + timeout);
    ++((*slot_).*kind);
    ++slot_->in_flight;
    slot_->loads_in_flight += load_ ? 1 : 0;
}

void adapter_call::time_is_up()
{
    ++slot_->timeouts;
    note_failure(permit_.timed_out(clock_.now()),
                 slot_->journal.wanted() ? "no answer within " + format_duration(timeout_) : std::string{});
    end_load(); // stores wait for it no more
    if (on_timeout_)
        on_timeout_();
    me_.cancel();
}

adapter_call::~adapter_call()
{
    note_latency();
    --slot_->in_flight;
    if (slot_->in_flight == 0)
        slot_->changed_.notify_all();
    end_load();
}

void adapter_call::note_latency() noexcept
{
    const nanoseconds took = clock_.now() - started_;
    if (what_ == adapter_operation::lookup)
        slot_->lookup_latency.record(took);
    else if (what_ == adapter_operation::load)
        slot_->load_latency.record(took);
    else if (what_ == adapter_operation::store)
        slot_->store_latency.record(took);
}

void adapter_call::end_load() noexcept
{
    if (std::exchange(load_, false) && --slot_->loads_in_flight == 0)
        slot_->store_turn_.notify_all();
}

void adapter_call::succeeded() noexcept
{
    if (permit_.succeeded() == breaker_change::closed)
        slot_->journal.worked_again(what_, clock_.now());
}

void adapter_call::failed(std::string_view reason) noexcept
{
    note_failure(permit_.failed(clock_.now()), reason);
    ++slot_->errors;
}

void adapter_call::note_failure(breaker_change change, std::string_view reason) noexcept
{
    const auto now = clock_.now();
    adapter_journal& journal = slot_->journal;
    const auto stopped = what_ == adapter_operation::unlock ? adapter_operation::lookup : what_; // by the breaker
    switch (change) {
    case breaker_change::opened:
        return journal.tripped(stopped, slot_->breaker_of(what_), slot_->options().breaker.failures, reason, now);
    case breaker_change::reopened:
        return journal.probe_failed(what_, slot_->breaker_of(what_), reason);
    case breaker_change::none:
    case breaker_change::closed:
        return journal.failed(what_, reason, now);
    }
}

asio::awaitable<bitmap> adapter_call::answer(maker call, std::size_t items)
{
    try {
        bitmap bits = co_await call();
        if (bits.size() == items) {
            succeeded();
            if (what_ == adapter_operation::load && !bits.all())
                slot_->look_for_damage(clock_.now());
            co_return bits;
        }
        failed(answer_to_another_question); // nothing of it is believed
    } catch (...) {
        caught();
    }
    co_return bitmap{items};
}

void adapter_call::caught() noexcept
{
    try {
        throw;
    } catch (const boost::system::system_error& e) {
        if (e.code() != asio::error::operation_aborted)
            failed(e.what());
    } catch (const std::exception& e) {
        failed(e.what());
    } catch (...) {
        failed("an exception of an unknown type");
    }
}

} // namespace terrace
