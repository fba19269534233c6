#include "flow/store_lane.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <iterator>
#include <unordered_set>
#include <utility>

namespace terrace {

store_lane::store_lane(flow_context& context, demotion_flow& demotion, std::shared_ptr<adapter_slot> slot)
    : context_{context},
      demotion_{demotion},
      slot_{std::move(slot)},
      limit_bytes_{slot_->options().store_queue_bytes != 0 ? slot_->options().store_queue_bytes
                                                           : context.l1->capacity_bytes() / 4}
{
}

void store_lane::enqueue(std::vector<store_job> jobs)
{
    // The tail comes first: what is stored last is evicted last, here and in L1, and what was queued first is dropped
    // first. But where the queue refuses what comes last, that must not be the head.
    if (slot_->options().store_queue_full != full_queue_policy::refuse)
        std::ranges::reverse(jobs);
    for (store_job& job : jobs)
        enqueue(std::move(job));
}

void store_lane::enqueue(store_job job)
{
    job.queued_at = context_.clock->now();
    context_.counters.targeted_objects += job.objects.size();
    const bool full = queued_bytes_ != 0 && queued_bytes_ + job.bytes > limit_bytes_;
    const auto how = slot_->options().store_queue_full;
    if (closed_ || context_.stopping())
        return fail(std::move(job), context_.counters.dropped_objects);
    if (full && how == full_queue_policy::refuse)
        return refuse(std::move(job));
    if (full && how == full_queue_policy::drop_oldest)
        drop_beyond(limit_bytes_ - std::min(limit_bytes_, job.bytes), "its queue is full");
    note_queued(job);
    queue_.push_back(std::move(job));
    start_working();
}

void store_lane::start_working()
{
    if (std::exchange(working_, true))
        slot_->store_turn().notify_all();
    else
        context_.spawn([this](task_scope::task&) { return work(); });
}

void store_lane::close()
{
    closed_ = true;
    drop_beyond(0, context_.stopping() ? "the engine closes" : "the adapter leaves");
    slot_->store_turn().notify_all();
}

// ---- the queue's coroutine -------------------------------------------------------------------------------------

asio::awaitable<void> store_lane::work()
{
    constexpr int stores_in_a_turn = 16; // then the executor's other work has its turn
    int left = stores_in_a_turn;
    struct at_work {
        explicit at_work(std::shared_ptr<store_lane> l) : lane{std::move(l)} {}
        ~at_work() { lane->working_ = false; }
        at_work(const at_work&) = delete;
        at_work& operator=(const at_work&) = delete;
        std::shared_ptr<store_lane> lane;
    };
    const at_work me{shared_from_this()};
    clock::alarm alarm{*context_.clock, [this] { slot_->store_turn().notify_all(); }};
    while (!empty()) {
        const auto now = context_.clock->now();
        requeue_due(now);
        if (queue_.empty()) {
            alarm.set(retries_.begin()->first);
            co_await slot_->store_turn().wait();
        } else if (!slot_->store_breaker.permits(now)) {
            if (const auto again = hold(now); again > now) {
                alarm.set(again);
                co_await slot_->store_turn().wait();
            }
        } else if (in_flight_ >= may_be_in_flight()) {
            co_await slot_->store_turn().wait();
        } else if (left-- == 0) {
            left = stores_in_a_turn;
            co_await asio::post(context_.executor, asio::use_awaitable);
        } else if (!queue_.front().room_made && !demoting_ && demotion_.applies_to(*slot_)) {
            co_await make_room_for_next();
        } else if (comes_after_another(queue_.front())) {
            co_await slot_->store_turn().wait();
        } else {
            begin_next();
        }
    }
}

std::uint32_t store_lane::may_be_in_flight() const noexcept
{
    const adapter_options& options = slot_->options();
    return slot_->loads_in_flight == 0 ? options.stores_in_flight
                                       : std::min(options.stores_in_flight, options.stores_beside_loads);
}

void store_lane::requeue_due(clock::time_point now)
{
    while (!retries_.empty() && retries_.begin()->first <= now) {
        store_job due = std::move(retries_.begin()->second);
        retries_.erase(retries_.begin());
        const auto no_older = [&](const store_job& waiting) { return waiting.queued_at >= due.queued_at; };
        queue_.insert(std::ranges::find_if(queue_, no_older), std::move(due)); // the queue is in order of age
    }
}

clock::time_point store_lane::hold(clock::time_point now)
{
    if (slot_->store_breaker.open())
        drop_beyond(limit_bytes_, "its queue is full, and its breaker open"); // under full_queue_policy::wait, too
    const auto patience = slot_->options().store_retries.give_up_after;
    while (!queue_.empty() && queue_.front().queued_at + patience <= now)
        give_up(take_oldest());
    if (queue_.empty())
        return now;
    auto again = queue_.front().queued_at + patience;
    if (slot_->store_breaker.open())
        again = std::min(again, slot_->store_breaker.retry_at());
    return again;
}

asio::awaitable<void> store_lane::make_room_for_next()
{
    queue_.front().room_made = true; // it is tried once
    const std::uint64_t objects = objects_in_flight_ + queue_.front().objects.size();
    const std::uint64_t bytes = bytes_in_flight_ + queue_.front().bytes;
    demoting_ = true;
    context_.spawn([&](task_scope::task& me) {
        return demotion_.make_room(slot_, objects, bytes, me, [lane = shared_from_this()] {
            lane->demoting_ = false;
            lane->slot_->store_turn().notify_all();
        });
    });
    // A tier that hangs must not keep this one from storing: it is waited for once, and until it is back the adapter
    // evicts on its own.
    clock::alarm alarm{*context_.clock, [this] { slot_->store_turn().notify_all(); }};
    const auto patience = context_.clock->now() + slot_->options().store_timeout;
    alarm.set(patience);
    while (demoting_ && context_.clock->now() < patience && !closed_)
        co_await slot_->store_turn().wait();
}

// ---- one store -------------------------------------------------------------------------------------------------

/// What one call counts as while it runs.
class store_lane::call_in_flight {
public:
    call_in_flight(std::shared_ptr<store_lane> lane, const store_job& job)
        : lane_{std::move(lane)},
          objects_{job.objects.size()},
          bytes_{job.bytes},
          change_{lane_->slot_->changes, keys_of(job.objects)}
    {
        ++lane_->in_flight_;
        lane_->bytes_in_flight_ += bytes_;
        lane_->objects_in_flight_ += objects_;
        lane_->context_.counters.store_objects_in_flight += objects_;
    }
    ~call_in_flight()
    {
        lane_->in_flight_ -= late_ ? 0 : 1;
        lane_->bytes_in_flight_ -= bytes_;
        lane_->objects_in_flight_ -= objects_;
        lane_->context_.counters.store_objects_in_flight -= objects_;
    }
    call_in_flight(const call_in_flight&) = delete;
    call_in_flight& operator=(const call_in_flight&) = delete;

    /// Others have their turn: it may never end.
    void late() noexcept
    {
        late_ = true;
        --lane_->in_flight_;
        change_.late();
    }

private:
    const std::shared_ptr<store_lane> lane_;
    const std::size_t objects_;
    const std::uint64_t bytes_;
    key_changes::change change_; // its end is the next one's turn
    bool late_ = false;
};

bool store_lane::comes_after_another(const store_job& job) const
{
    if (job.of->mode() != store_mode::replace)
        return false; // whichever of the two comes last, the bytes are those that the key names
    const auto others = slot_->changes.with(keys_of(job.objects));
    return others.late.none() && others.in_time.any();
}

void store_lane::begin_next()
{
    store_job next = std::move(queue_.front());
    queue_.pop_front();
    note_taken(next);
    const bitmap overtaken = context_.l1->overwritten(next.objects);
    next = without_overtaken(std::move(next), overtaken);
    if (next.objects.empty())
        return;
    if (next.of->mode() == store_mode::replace) {
        const auto keys = keys_of(next.objects);
        drop_retries_before(next, keys);
        if (slot_->changes.with(keys).late.any()) // it might take effect after this one
            return settle(std::move(next), bitmap{keys.size()});
    }
    context_.spawn([&](task_scope::task& me) { return store(std::move(next), me); });
}

void store_lane::drop_retries_before(const store_job& job, const std::vector<object_key>& keys)
{
    if (retries_.empty())
        return;
    const std::unordered_set<object_key> replaced{keys.begin(), keys.end()};
    for (auto at = retries_.begin(); at != retries_.end();) {
        bitmap overtaken{at->second.objects.size()};
        const bool older = at->second.of->number() < job.of->number();
        for (std::size_t i = 0; older && i < overtaken.size(); ++i)
            overtaken.set(i, replaced.contains(at->second.objects.key(i)));
        if (overtaken.none()) {
            ++at;
            continue;
        }
        note_taken(at->second);
        at->second = without_overtaken(std::move(at->second), overtaken);
        note_queued(at->second);
        at = at->second.objects.empty() ? retries_.erase(at) : std::next(at);
    }
}

asio::awaitable<void> store_lane::store(store_job job, task_scope::task& me)
{
    const auto self = shared_from_this();
    const std::size_t objects = job.objects.size();
    bitmap stored{objects};
    if (auto permit = slot_->store_breaker.try_begin(context_.clock->now()); permit && !slot_->closed) {
        call_in_flight call{self, job};
        const auto timeout = slot_->options().store_timeout;
        const auto give_up = [&] {
            call.late();
            job.of->late();
        };
        adapter_call running{slot_, &adapter_slot::stores, std::move(*permit), *context_.clock, timeout, me, give_up};
        counted in_flight{context_.counters.stores_in_flight};
        try {
            std::vector<store_item> items;
            items.reserve(objects);
            for (std::size_t i = 0; i < objects; ++i)
                items.emplace_back(job.objects.key(i), context_.l1->layout(job.objects, i), job.objects.bytes(i),
                                   job.of->mode());
            slot_->know(context_.l1->usable_memory());
            adapter_call::maker store = [&] { return slot_->adapter().store(items); };
            stored = co_await running.answer(std::move(store), objects);
        } catch (...) {
            running.caught();
        }
    }
    settle(std::move(job), stored);
}

void store_lane::settle(store_job job, const bitmap& stored)
{
    context_.counters.stored_objects += stored.count();
    stored.for_each_set([&](std::size_t i) { context_.counters.stored_bytes += job.objects.bytes(i).size(); });
    job.of->done(job, stored, true);
    if (stored.all())
        return;

    job = without(std::move(job), stored); // which is let go of now
    job.room_made = false;
    ++job.attempts;

    const retry_options& retries = slot_->options().store_retries;
    const auto now = context_.clock->now();
    const bool may_retry = job.attempts < retries.attempts && now - job.queued_at < retries.give_up_after;
    if (!may_retry)
        return give_up(std::move(job));
    if (closed_ || context_.stopping())
        return fail(std::move(job), context_.counters.dropped_objects);
    const auto again = now + backoff(job.attempts);
    retry(std::move(job), again);
}

void store_lane::retry(store_job job, clock::time_point at)
{
    context_.counters.retried_objects += job.objects.size();
    note_queued(job);
    retries_.emplace(at, std::move(job));
    start_working();
}

store_job store_lane::without(store_job job, const bitmap& gone)
{
    if (gone.none())
        return job;
    std::size_t i = 0;
    bitmap which = job.which;
    job.which.for_each_set([&](std::size_t at) { which.set(at, !gone.test(i++)); });
    job.which = std::move(which);
    job.objects = context_.l1->share(job.objects, ~gone);
    job.bytes = bytes_of(job.objects);
    return job;
}

nanoseconds store_lane::backoff(std::uint32_t failed_attempts)
{
    const retry_options& retries = slot_->options().store_retries;
    nanoseconds longest = retries.backoff;
    for (std::uint32_t i = 1; i < failed_attempts && longest < retries.max_backoff; ++i)
        longest *= 2;
    longest = std::min<nanoseconds>(longest, retries.max_backoff);
    return nanoseconds{
        std::uniform_int_distribution<std::int64_t>{longest.count() / 2, longest.count()}(context_.random)};
}

// ---- what is not stored ----------------------------------------------------------------------------------------

store_job store_lane::take_oldest()
{
    store_job oldest;
    const bool retry =
        !retries_.empty() && (queue_.empty() || retries_.begin()->second.queued_at <= queue_.front().queued_at);
    if (retry) {
        oldest = std::move(retries_.begin()->second);
        retries_.erase(retries_.begin());
    } else {
        oldest = std::move(queue_.front());
        queue_.pop_front();
    }
    note_taken(oldest);
    return oldest;
}

void store_lane::drop_beyond(std::uint64_t bytes, std::string_view why)
{
    std::uint64_t objects = 0;
    while (queued_bytes_ > bytes) {
        store_job oldest = take_oldest();
        objects += oldest.objects.size();
        fail(std::move(oldest), context_.counters.dropped_objects);
    }
    if (objects != 0)
        slot_->journal.stores_dropped(objects, why, context_.clock->now());
}

void store_lane::refuse(store_job job)
{
    slot_->journal.stores_dropped(job.objects.size(), "its queue is full", context_.clock->now());
    fail(std::move(job), context_.counters.refused_objects);
}

void store_lane::give_up(store_job job)
{
    slot_->journal.stores_failed(job.objects.size(), context_.clock->now());
    fail(std::move(job), context_.counters.failed_objects);
}

store_job store_lane::without_overtaken(store_job job, const bitmap& overtaken)
{
    if (overtaken.any()) {
        context_.counters.overtaken_objects += overtaken.count();
        job.of->done(job, overtaken, false);
    }
    return without(std::move(job), overtaken);
}

void store_lane::fail(store_job job, counter& as)
{
    as += job.objects.size();
    job.of->done(job, bitmap{job.objects.size(), true}, false);
}

void store_lane::note_queued(const store_job& job)
{
    queued_bytes_ += job.bytes;
    context_.counters.queued_objects += job.objects.size();
    context_.counters.queued_bytes += job.bytes;
}

void store_lane::note_taken(const store_job& job)
{
    queued_bytes_ -= job.bytes;
    context_.counters.queued_objects -= job.objects.size();
    context_.counters.queued_bytes -= job.bytes;
}

} // namespace terrace
