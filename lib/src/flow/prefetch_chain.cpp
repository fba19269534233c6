#include "flow/prefetch_chain.hpp"

#include <algorithm>
#include <utility>

namespace terrace {
namespace {

using running_calls = std::vector<std::weak_ptr<task_scope::task>>;

/// Asks the calls that a request has started to stop, if the request leaves them behind.
class stop_on_exit {
public:
    explicit stop_on_exit(running_calls& calls) : calls_{calls} {}
    ~stop_on_exit()
    {
        for (auto& call : calls_)
            if (auto running = call.lock())
                running->cancel();
    }
    stop_on_exit(const stop_on_exit&) = delete;
    stop_on_exit& operator=(const stop_on_exit&) = delete;

private:
    running_calls& calls_;
};

/// Moves bit i of `answer` to the place of the i-th set bit of `asked`.
bitmap spread(const bitmap& answer, const bitmap& asked)
{
    bitmap result{asked.size()};
    std::size_t i = 0;
    asked.for_each_set([&](std::size_t at) { result.set(at, answer.test(i++)); });
    return result;
}

} // namespace

template <class Answer>
asio::awaitable<bool> prefetch_chain::all_settled(rendezvous<Answer>& place, std::optional<clock::time_point> deadline,
                                                  flow_context::request& turn)
{
    bool late = false;
    clock::alarm alarm{*context_.clock, [&late, &turn] {
                           late = true;
                           turn.wake().notify_all();
                       }};
    if (deadline && !place.complete())
        alarm.set(*deadline);
    while (!place.complete() && !late) {
        context_.throw_if_stopping();
        co_await turn.wake().wait();
    }
    co_return place.complete();
}

// ---- the first half --------------------------------------------------------------------------------------------

asio::awaitable<pinned_request> prefetch_chain::look_up(prefetch_request request)
{
    context_.throw_if_stopping();
    pinned_request found;
    found.keys = std::make_shared<const std::vector<object_key>>(std::move(request).keys());
    found.layout = request.layout();
    found.readers = request.readers();
    found.trim = request.trim();
    found.lock = request.lock();
    found.deadline = request.deadline();
    found.started = context_.clock->now();
    ++context_.counters.requests;
    context_.counters.keys += found.keys->size();

    // L1 first; L2 is asked only for the rest.
    const std::uint32_t readers = found.lock == lock_mode::yes ? found.readers : 1;
    found.pins = context_.l1->pin(*found.keys, found.layout, readers);
    if (found.pins.present().all())
        found.usable = found.pins.present();
    else
        co_await look_up_in_l2(found);
    co_return found;
}

asio::awaitable<void> prefetch_chain::look_up_in_l2(pinned_request& request)
{
    const auto adapters = context_.adapters.snapshot();
    const bitmap missing = ~request.pins.present();
    flow_context::request turn{context_};
    auto place = std::make_shared<lookups>(adapters->size());
    lookups::attendance here{*place, turn.wake()};
    running_calls calls;
    stop_on_exit leaving{calls}; // an answer that comes after the deadline is of no use
    for (std::size_t i = 0; i < adapters->size(); ++i)
        calls.push_back(context_.spawn(
            [&](task_scope::task& me) { return look_up_in((*adapters)[i], request.keys, missing, place, i, me); }));
    const bool in_time = co_await all_settled(*place, request.deadline, turn);
    request.timed_out = !in_time;

    std::vector<bitmap> found(adapters->size(), bitmap{missing.size()});
    request.locks.resize(adapters->size());
    for (std::size_t i = 0; i < adapters->size(); ++i)
        if (auto& answer = (*place)[i]; answer && in_time) {
            request.locks[i] = std::move(*answer);
            found[i] = request.locks[i].held();
        }

    const load_plan plan = policy_->select_load_plan(*request.keys, found);
    std::vector<bitmap> chosen(adapters->size(), bitmap{missing.size()});
    bitmap planned{missing.size()};
    for (std::size_t i = 0; i < std::min(plan.size(), planned.size()); ++i)
        if (const auto source = plan.source(i); source < found.size() && found[source].test(i)) {
            chosen[source].set(i);
            planned.set(i);
        }
    request.usable = trimmed(request, request.pins.present() | planned);

    // What will not be used is given back now, not at the end.
    request.pins.keep_only(request.usable);
    for (std::size_t i = 0; i < request.locks.size(); ++i)
        request.locks[i].keep_only(chosen[i] & request.usable);
}

asio::awaitable<void> prefetch_chain::look_up_in(std::shared_ptr<adapter_slot> slot, key_list keys, bitmap missing,
                                                 std::shared_ptr<lookups> place, std::size_t call, task_scope::task& me)
{
    adapter_call running{
        slot, &adapter_slot::lookups, *context_.clock, slot->options().lookup_timeout, me, [&place, call] {
            place->give_up(call);
        }};
    counted in_flight{context_.counters.prefetch_in_flight};
    try {
        std::vector<object_key> some;
        std::span<const object_key> asked{*keys};
        if (!missing.all()) {
            some = gather<std::vector<object_key>, object_key>(*keys, missing);
            asked = some;
        }
        const bitmap answer = co_await slot->adapter().lookup_and_lock(asked);
        if (answer.size() == asked.size()) {
            l2_locks locks{context_, slot, keys, spread(answer, missing)};
            place->answer(call, std::move(locks)); // too late: they are unlocked here
        } else {
            ++slot->errors; // an answer to another question
        }
    } catch (...) {
        running.count_exception();
    }
    place->give_up(call);
}

bitmap prefetch_chain::trimmed(const pinned_request& request, bitmap found) const
{
    if (request.trim == trim_rule::prefix)
        found.keep_first(found.leading());
    return found;
}

// ---- the second half -------------------------------------------------------------------------------------------

asio::awaitable<prefetch_result> prefetch_chain::load(pinned_request request)
{
    context_.throw_if_stopping();
    const bitmap resident = request.pins.present();
    if (request.usable != resident) {
        flow_context::request turn{context_};
        co_await load_from_l2(request, turn);
        request.usable = trimmed(request, request.pins.present());
        request.pins.keep_only(request.usable);
    }

    prefetch_result result;
    result.prefix_hits = request.usable.leading();
    result.l1_hits = (request.usable & resident).count();
    result.l2_hits = (request.usable - resident).count();
    result.timed_out = request.timed_out;
    result.found = std::move(request.usable);
    if (request.lock == lock_mode::yes)
        result.lease = std::move(request.pins).into_lease();
    result.latency = context_.clock->now() - request.started;
    context_.counters.l1_hit_keys += result.l1_hits;
    context_.counters.l2_hit_keys += result.l2_hits;
    if (result.timed_out)
        ++context_.counters.timed_out;
    co_return result;
}

asio::awaitable<void> prefetch_chain::load_from_l2(pinned_request& request, flow_context::request& turn)
{
    const bitmap to_load = request.usable - request.pins.present();
    auto keys = gather<std::vector<object_key>, object_key>(*request.keys, to_load);
    bitmap retained{keys.size(), true};
    if (request.lock == lock_mode::yes)
        retained = policy_->select_l1_retentions(keys);
    auto staged = co_await reserve(request, std::move(keys), std::move(retained));

    // Out of memory trims, it does not fail.
    const bitmap room = spread(staged.reserved(), to_load);
    request.usable = trimmed(request, request.pins.present() | room);
    request.pins.keep_only(request.usable);

    std::vector<std::uint32_t> positions; // of each staged key in the request
    to_load.for_each_set([&](std::size_t at) { positions.push_back(static_cast<std::uint32_t>(at)); });
    auto place = std::make_shared<loads>(request.locks.size());
    loads::attendance here{*place, turn.wake()};
    running_calls calls;
    {
        stop_on_exit leaving{calls};
        for (std::size_t i = 0; i < request.locks.size(); ++i) {
            l2_locks& locks = request.locks[i];
            locks.keep_only(request.usable);
            if (locks.held().none()) {
                place->give_up(i);
                continue;
            }
            bitmap mine{positions.size()};
            load_part part;
            for (std::size_t k = 0; k < positions.size(); ++k)
                if (locks.held().test(positions[k])) {
                    mine.set(k);
                    part.positions.push_back(positions[k]);
                }
            part.staged = l1_cache::extract(staged, mine);
            std::erase_if(positions, [&](std::uint32_t at) { return locks.held().test(at); });
            calls.push_back(context_.spawn([&](task_scope::task& me) {
                return load_from(std::move(locks), std::move(part), request.layout, place, i, me);
            }));
        }
        request.locks.clear();
        if (!co_await all_settled(*place, request.deadline, turn)) {
            request.timed_out = true;
            calls.clear(); // they may finish: what they bring is for others, if the policy says so
        }
    }
    for (std::size_t i = 0; i < place->size(); ++i)
        if (auto& part = (*place)[i])
            context_.l1->finish_write_and_reserve_read(std::move(part->staged), part->positions, part->loaded,
                                                       part->loaded, request.pins);
}

asio::awaitable<write_lease> prefetch_chain::reserve(const pinned_request& request, std::vector<object_key> keys,
                                                     bitmap retained)
{
    auto attempt = [&](l1_cache::on_shortage shortage) {
        return context_.l1->stage_for_load(keys, request.layout, retained, shortage);
    };
    if (auto staged = attempt(l1_cache::on_shortage::give_up))
        co_return std::move(*staged);
    // Stores let go of their memory by themselves, and soon. Readers may not: for them the request is trimmed.
    auto until = context_.clock->now() + room_timeout_;
    if (request.deadline)
        until = std::min<clock::time_point>(until, *request.deadline);
    room_queue::attempt again = attempt;
    co_return co_await room_.reserve(std::move(again), stores_hold_memory_, until);
}

asio::awaitable<void> prefetch_chain::load_from(l2_locks locks, load_part part, memory_layout layout,
                                                std::shared_ptr<loads> place, std::size_t call, task_scope::task& me)
{
    const auto slot = locks.slot();
    adapter_call running{slot, &adapter_slot::loads, *context_.clock, slot->options().load_timeout, me, [&place, call] {
                             place->give_up(call);
                         }};
    counted in_flight{context_.counters.prefetch_in_flight};
    const std::size_t objects = part.staged.size();
    part.loaded = bitmap{objects};
    try {
        std::vector<load_item> items;
        items.reserve(objects);
        for (std::size_t i = 0; i < objects; ++i)
            items.emplace_back(part.staged.key(i), layout, part.staged.bytes(i));
        bitmap loaded = co_await slot->adapter().load(items);
        if (loaded.size() == objects)
            part.loaded = std::move(loaded);
        else
            ++slot->errors; // an answer to another question: nothing of it is believed
    } catch (...) {
        running.count_exception();
    }
    const std::size_t brought = part.loaded.count();
    context_.counters.failed_loads += objects - brought;
    context_.counters.loaded_bytes += brought * layout.size_bytes();
    if (!place->answer(call, std::move(part)) && late_loads_ == late_load_policy::admit)
        context_.l1->finish_write(std::move(part.staged), part.loaded);
}

} // namespace terrace
