#include "flow/prefetch_chain.hpp"

#include <algorithm>
#include <utility>

namespace terrace {
namespace {

/// Sets bit i of `answer` in `result`, at the place of the i-th set bit of `asked`.
void spread(const bitmap& answer, const bitmap& asked, bitmap& result)
{
    std::size_t i = 0;
    asked.for_each_set([&](std::size_t at) { result.set(at, answer.test(i++)); });
}

std::uint64_t limit_or(std::uint64_t configured, std::uint64_t otherwise)
{
    return configured != 0 ? configured : otherwise;
}

} // namespace

prefetch_chain::prefetch_chain(flow_context& context, room_queue& room, const config& cfg)
    : context_{context},
      room_{room},
      policy_{cfg.prefetch},
      late_loads_{cfg.late_loads},
      room_timeout_{cfg.prefetch_limits.room_timeout},
      window_bytes_{cfg.prefetch_limits.window_bytes},
      admission_{context,
                 {.bytes = limit_or(cfg.prefetch_limits.bytes_in_flight, cfg.l1.capacity_bytes / 2),
                  .requests = cfg.prefetch_limits.requests_in_flight,
                  .waiting = cfg.prefetch_limits.requests_waiting}}
{
}

// ---- the chain -------------------------------------------------------------------------------------------------

prefetch_chain::arrival prefetch_chain::receive(const prefetch_request& request)
{
    arrival came{context_.clock->now(), {}};
    const std::uint32_t readers = request.lock() == lock_mode::yes ? request.readers() : 1;
    if (request.groups().size() == 1) {
        const key_group& all = request.groups().front();
        const layout_run layout{all.keys().size(), all.layout()};
        came.pins = context_.l1->pin(all.keys(), {&layout, 1}, readers);
    } else {
        const request_keys flat{request.groups(), request.trim()};
        came.pins = context_.l1->pin(flat.keys, flat.layouts, readers);
    }
    ++context_.counters.requests;
    context_.counters.keys += came.pins.present().size();
    return came;
}

std::optional<prefetch_result> prefetch_chain::answer_from_l1(const prefetch_request& request, arrival& came)
{
    if (!came.pins.present().all())
        return {};
    const bitmap resident = came.pins.present();
    return answer({request.groups(), request.trim()}, request.lock(), came.at, std::move(came.pins), resident);
}

asio::awaitable<prefetch_result> prefetch_chain::prefetch(prefetch_request request, arrival came, observer* seen_by)
{
    auto run = begin(std::move(request), std::move(came));
    if (seen_by == nullptr) {
        co_await drive(*run, goal::loaded, nullptr);
        co_return finish(*run);
    }
    struct watched {
        watched(observer& o, prefetch_run& r) : by{o} { by.begun(r); }
        ~watched() { by.ended(); }
        observer& by;
    } watching{*seen_by, *run};
    co_await drive(*run, goal::loaded, seen_by);
    co_return finish(*run);
}

asio::awaitable<std::unique_ptr<prefetch_run>> prefetch_chain::look_up(prefetch_request request)
{
    arrival came = receive(request);
    auto run = begin(std::move(request), std::move(came));
    co_await drive(*run, goal::found, nullptr);
    co_return run;
}

asio::awaitable<prefetch_result> prefetch_chain::load(std::unique_ptr<prefetch_run> run)
{
    context_.throw_if_stopping();
    co_await drive(*run, goal::loaded, nullptr);
    co_return finish(*run);
}

std::unique_ptr<prefetch_run> prefetch_chain::begin(prefetch_request request, arrival came)
{
    context_.throw_if_stopping();
    auto run = std::make_unique<prefetch_run>(std::move(request), came.at);
    // L1 first, then what is on its way there; L2 is asked only for the rest.
    run->pins = std::move(came.pins);
    run->resident = run->pins.present();
    if (!run->resident.all())
        join_loads(*run, ~run->resident);
    return run;
}

/// The adapters' lookups for one request. Destroying it leaves behind those that have not answered: they are asked to
/// stop, and unlock what they find all the same.
class prefetch_chain::lookup_round {
public:
    lookup_round(prefetch_chain& chain, prefetch_run& run, event& wake)
        : adapters_{chain.context_.adapters.snapshot()},
          place_{std::make_shared<lookups>(adapters_->size())},
          here_{*place_, wake}
    {
        run.locks.resize(adapters_->size());
        const bitmap missing = ~(run.pins.present() | run.claims.pending());
        const key_list keys{run.what, &run.what->keys};
        const auto now = chain.context_.clock->now();
        for (std::size_t i = 0; i < adapters_->size(); ++i) {
            const auto& slot = (*adapters_)[i];
            // What cannot be loaded need not be found.
            auto permit =
                slot->load_breaker.permits(now) && missing.any() ? slot->lookup_breaker.try_begin(now) : std::nullopt;
            if (!permit) {
                place_->give_up(i);
                continue;
            }
            calls_.push_back(chain.context_.spawn([&](task_scope::task& me) {
                return chain.look_up_in(slot, std::move(*permit), keys, missing, place_, i, me);
            }));
        }
    }
    ~lookup_round()
    {
        for (auto& call : calls_)
            if (auto running = call.lock())
                running->cancel();
    }
    lookup_round(const lookup_round&) = delete;
    lookup_round& operator=(const lookup_round&) = delete;

    [[nodiscard]] bool complete() const noexcept { return place_->complete(); }

    /// Hands over the answers that have come.
    void collect(prefetch_run& run)
    {
        for (std::size_t i = 0; i < run.locks.size(); ++i)
            if (auto& answer = (*place_)[i]) {
                run.locks[i] = std::move(*answer);
                answer.reset();
            }
    }

private:
    std::shared_ptr<const adapter_list> adapters_;
    std::shared_ptr<lookups> place_;
    lookups::attendance here_;
    std::vector<std::weak_ptr<task_scope::task>> calls_;
};

asio::awaitable<void> prefetch_chain::drive(prefetch_run& run, goal until, observer* seen_by)
{
    if (run.pins.present().all()) {
        run.usable = run.trimmed(run.pins.present()); // a window needs its last chunks only
        run.looked_up = true;
        if (seen_by != nullptr)
            seen_by->looked_up(run.what->shape.chunks());
        co_return;
    }
    flow_context::request turn{context_};
    struct attached {
        attached(load_claims& c, event& wake) : claims{c} { claims.attach(&wake); }
        ~attached() { claims.attach(nullptr); }
        load_claims& claims;
    } listening{run.claims, turn.wake()};
    bool late = run.deadline && *run.deadline <= context_.clock->now(); // a ticket may be loaded too late
    clock::alarm alarm{*context_.clock, [&late, &turn] {
                           late = true;
                           turn.wake().notify_all();
                       }};
    std::optional<lookup_round> round;
    if (!run.looked_up)
        round.emplace(*this, run, turn.wake());
    if (run.deadline && !late)
        alarm.set(*run.deadline);

    while (true) {
        context_.throw_if_stopping();
        (void)run.claims.take_changed();
        const bool answered = !round || round->complete();
        if (round)
            round->collect(run);
        std::vector<bitmap> chosen;
        const bitmap planned = plan(run, chosen);
        run.usable = run.trimmed(run.available(planned));
        if (!run.looked_up && (answered || late || run.usable.all())) {
            // The rest of the adapters can add nothing, or not in time.
            round.reset();
            run.looked_up = true;
            if (seen_by != nullptr)
                seen_by->looked_up(run.what->shape.hits(run.usable));
        }
        if (run.looked_up) {
            // What will not be used, or has no room, is given back now and not at the end; but for what L1 alone can
            // serve, should the loads fail: with windows that may be other chunks.
            run.pins.keep_only(run.usable | run.trimmed(run.pins.present()));
            for (std::size_t i = 0; i < run.locks.size(); ++i)
                run.locks[i].keep_only(chosen[i] & run.usable);
        }
        if (late) {
            run.timed_out = run.timed_out || (run.usable - run.pins.present()).any() || !answered;
            run.claims.give_up(load_claims::if_unclaimed::finish);
            run.usable = run.trimmed(run.available(planned));
            break;
        }
        if (until == goal::found && run.looked_up)
            break;
        const bitmap to_load = (run.usable & planned) - run.pins.present() - run.claims.pending();
        // A window moves on with every hit more: what it has to hold is known only when all have answered.
        if (until == goal::loaded && to_load.any() && (run.looked_up || !run.what->shape.windowed())) {
            for (bitmap& mine : chosen)
                mine &= to_load;
            co_await start_loads(run, std::move(chosen));
            if (seen_by != nullptr)
                seen_by->progressed();
            continue; // look again: that may have taken time
        }
        if (run.looked_up && (run.usable & run.claims.pending()).none())
            break;
        if (run.claims.take_changed() || (round && round->complete() && !answered))
            continue;
        co_await turn.wake().wait();
        if (seen_by != nullptr)
            seen_by->progressed();
    }
    if (until == goal::loaded)
        run.locks.clear();
}

prefetch_result prefetch_chain::finish(prefetch_run& run)
{
    run.claims.give_up(load_claims::if_unclaimed::stop); // what is loading for nothing, past the prefix
    prefetch_result result = answer(run.what->shape, run.lock, run.started, std::move(run.pins), run.resident);
    result.timed_out = run.timed_out;
    if (result.timed_out)
        ++context_.counters.timed_out;
    return result;
}

prefetch_result prefetch_chain::answer(const request_shape& shape, lock_mode lock, clock::time_point came, l1_pins pins,
                                       const bitmap& resident)
{
    prefetch_result result;
    result.found = shape.usable(pins.present()); // a window needs its last chunks only
    pins.keep_only(result.found);
    result.prefix_hits = shape.hits(result.found);
    result.l1_hits = (result.found & resident).count();
    result.l2_hits = (result.found - resident).count();
    if (lock == lock_mode::yes)
        result.lease = std::move(pins).into_lease();
    else {
        pins.retain(); // others may have brought some of it, for as long as they read it
        pins = {};
    }
    result.latency = context_.clock->now() - came;
    context_.prefetch_latency.record(result.latency);
    context_.counters.l1_hit_keys += result.l1_hits;
    context_.counters.l2_hit_keys += result.l2_hits;
    return result;
}

// ---- lookup ----------------------------------------------------------------------------------------------------

asio::awaitable<void> prefetch_chain::look_up_in(std::shared_ptr<adapter_slot> slot, breaker::permit permit,
                                                 key_list keys, bitmap missing, std::shared_ptr<lookups> place,
                                                 std::size_t call, task_scope::task& me)
{
    adapter_call running{slot,
                         &adapter_slot::lookups,
                         std::move(permit),
                         *context_.clock,
                         slot->options().lookup_timeout,
                         me,
                         [&place, call] { place->give_up(call); }};
    counted in_flight{context_.counters.prefetch_in_flight};
    try {
        std::vector<object_key> some;
        std::span<const object_key> asked{*keys};
        if (!missing.all()) {
            some = gather<std::vector<object_key>, object_key>(*keys, missing);
            asked = some;
        }
        bitmap held{missing.size()}; // made now, so that nothing can fail between the locks and their guard
        const bitmap answer = co_await slot->adapter().lookup_and_lock(asked);
        if (answer.size() == asked.size()) {
            running.succeeded();
            spread(answer, missing, held);
            l2_locks locks{context_, slot, keys, std::move(held)};
            place->answer(call, std::move(locks)); // too late: they are unlocked here
        } else {
            running.failed(adapter_call::answer_to_another_question);
        }
    } catch (...) {
        running.caught();
    }
    place->give_up(call);
}

/// Claims what other requests are loading already.
void prefetch_chain::join_loads(prefetch_run& run, const bitmap& candidates)
{
    if (flights_.empty())
        return;
    auto layout = run.what->layouts.begin();
    candidates.for_each_set([&](std::size_t at) {
        while (at >= layout->end)
            ++layout;
        if (loading_object* object = flights_.find(run.keys()[at], layout->layout)) {
            run.claims.claim(*object, at);
            object->retained = object->retained || run.lock == lock_mode::no;
            ++context_.counters.joined_keys;
        }
    });
}

/// Who loads which key, of those that are found and not on their way yet.
bitmap prefetch_chain::plan(prefetch_run& run, std::vector<bitmap>& chosen) const
{
    bitmap planned{run.size()};
    const bitmap done = run.pins.present() | run.claims.pending() | run.claims.failed();
    std::vector<bitmap> found(run.locks.size(), bitmap{run.size()});
    bool any = false;
    for (std::size_t i = 0; i < run.locks.size(); ++i)
        if (run.locks[i].held().any()) {
            found[i] = run.locks[i].held() - done;
            any = any || found[i].any();
        }
    chosen.assign(run.locks.size(), bitmap{run.size()});
    if (!any)
        return planned;
    const load_plan wish = policy_->select_load_plan(run.keys(), found);
    for (std::size_t i = 0; i < std::min(wish.size(), planned.size()); ++i)
        if (const auto source = wish.source(i); source < found.size() && found[source].test(i)) {
            chosen[source].set(i);
            planned.set(i);
        }
    return planned;
}

// ---- load ------------------------------------------------------------------------------------------------------

asio::awaitable<void> prefetch_chain::start_loads(prefetch_run& run, std::vector<bitmap> chosen)
{
    bitmap to_load{run.size()};
    for (const bitmap& mine : chosen)
        to_load |= mine;
    std::uint64_t bytes = 0;
    auto layout = run.what->layouts.begin();
    to_load.for_each_set([&](std::size_t at) {
        while (at >= layout->end)
            ++layout;
        bytes += layout->layout.size_bytes();
    });
    if (run.admitted != nullptr)
        run.admitted->grow(bytes);
    else if (run.admitted = admission_.try_admit(bytes); run.admitted == nullptr) {
        co_await wait_for_admission(run, bytes);
        if (run.admitted == nullptr) {
            run.claims.fail(to_load);
            co_return;
        }
        // Others may have loaded some of it meanwhile, or have begun to.
        context_.l1->pin(run.pins, run.keys(), run.what->layouts, to_load);
        run.resident |= run.pins.present() & to_load;
        join_loads(run, to_load - run.pins.present());
        to_load -= run.pins.present() | run.claims.pending();
    }
    if (to_load.none())
        co_return;
    auto staged = co_await reserve(run, to_load);

    // Out of memory trims, it does not fail.
    bitmap with_room{run.size()};
    spread(staged.reserved(), to_load, with_room);
    run.claims.fail(to_load - with_room);
    const bitmap useful = to_load & run.trimmed(run.available(to_load));
    for (bitmap& mine : chosen)
        mine &= useful;
    const auto calls = split_into_calls(chosen, run.what->layouts, window_bytes_);

    constexpr std::uint32_t none = ~std::uint32_t{0};
    std::vector<std::uint32_t> call_of(run.size(), none);
    for (std::size_t i = 0; i < calls.size(); ++i)
        for (const std::uint32_t at : calls[i].positions)
            call_of[at] = static_cast<std::uint32_t>(i);
    auto parts = l1_cache::split(std::move(staged), calls.size(),
                                 gather<std::vector<std::uint32_t>, std::uint32_t>(call_of, to_load));
    for (std::size_t i = 0; i < calls.size(); ++i)
        launch(run, std::move(parts[i]), calls[i]);
}

asio::awaitable<void> prefetch_chain::wait_for_admission(prefetch_run& run, std::uint64_t bytes)
{
    auto what = admission_queue::load_class::demand;
    if (run.lock == lock_mode::no)
        what = admission_queue::load_class::warm;
    run.admitted = co_await admission_.admit(bytes, what, run.priority, run.deadline);
    if (run.admitted == nullptr)
        run.timed_out = run.deadline && context_.clock->now() >= *run.deadline;
}

void prefetch_chain::launch(prefetch_run& run, write_lease staged, const load_call& call)
{
    bitmap which{run.size()};
    for (const std::uint32_t at : call.positions)
        which.set(at);
    auto locks = run.locks[call.adapter].take(which);
    bitmap retained{call.positions.size(), true};
    if (run.lock == lock_mode::yes) {
        const auto keys = gather<std::vector<object_key>, object_key>(run.keys(), which);
        retained = policy_->select_l1_retentions(keys);
        if (retained.size() != keys.size()) // an answer to another question
            retained = bitmap{keys.size()};
    }
    auto flight = std::make_shared<load_flight>(flights_, *context_.l1, std::move(staged), *call.layout, retained,
                                                late_loads_ == late_load_policy::admit, run.admitted);
    for (std::size_t i = 0; i < call.positions.size(); ++i)
        run.claims.claim((*flight)[i], call.positions[i]);
    std::weak_ptr<load_flight> started = flight;
    auto task =
        context_.spawn([&](task_scope::task& me) { return load_from(std::move(flight), std::move(locks), me); });
    if (auto running = started.lock())
        running->runs_in(std::move(task));
}

asio::awaitable<write_lease> prefetch_chain::reserve(const prefetch_run& run, const bitmap& which)
{
    auto keys = gather<std::vector<object_key>, object_key>(run.keys(), which);
    std::vector<layout_run> layouts;
    std::size_t begin = 0;
    std::size_t end = 0;
    for (const layout_run& part : run.what->layouts) {
        for (std::size_t at = begin; at < part.end; ++at)
            end += which.test(at) ? 1 : 0;
        layouts.push_back({end, part.layout});
        begin = part.end;
    }
    auto attempt = [&](l1_cache::on_shortage shortage) { return context_.l1->stage_for_load(keys, layouts, shortage); };
    if (auto staged = attempt(l1_cache::on_shortage::give_up))
        co_return std::move(*staged);
    // Stores let go of their memory by themselves, and soon. Readers may not: for them the request is trimmed.
    auto until = context_.clock->now() + room_timeout_;
    if (run.deadline)
        until = std::min<clock::time_point>(until, *run.deadline);
    const room_wish wish{context_.l1->needed_bytes(layouts), room_wish::patience::stores};
    room_queue::attempt again = attempt;
    co_return co_await room_.reserve(std::move(again), wish, until);
}

asio::awaitable<void> prefetch_chain::load_from(std::shared_ptr<load_flight> flight, l2_locks locks,
                                                task_scope::task& me)
{
    const auto slot = locks.slot();
    bitmap loaded{flight->size()};
    std::optional<breaker::permit> permit;
    if (!slot->closed)
        permit = slot->load_breaker.try_begin(context_.clock->now());
    if (!permit) { // it has failed, or left, since the lookup
        context_.counters.failed_loads += loaded.size();
        flight->land(loaded);
        co_return;
    }
    adapter_call running{
        slot, &adapter_slot::loads,         std::move(*permit), *context_.clock, slot->options().load_timeout,
        me,   [&flight] {
            flight->late(); }};
    counted in_flight{context_.counters.prefetch_in_flight};
    try {
        std::vector<load_item> items;
        items.reserve(flight->size());
        for (std::size_t i = 0; i < flight->size(); ++i)
            items.emplace_back((*flight)[i].key, flight->layout(), flight->staged().bytes(i));
        slot->know(context_.l1->usable_memory());
        adapter_call::maker load = [&] { return slot->adapter().load(items); };
        loaded = co_await running.answer(std::move(load), items.size());
    } catch (...) {
        running.caught();
    }
    const std::size_t brought = loaded.count();
    context_.counters.failed_loads += loaded.size() - brought;
    context_.counters.loaded_bytes += brought * flight->layout().size_bytes();
    flight->land(loaded);
}

} // namespace terrace
