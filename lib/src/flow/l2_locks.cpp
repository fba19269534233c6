#include "flow/l2_locks.hpp"

#include <boost/asio/dispatch.hpp>
#include <utility>

namespace terrace {
namespace {

/// Counts locks as given back when it ends, whatever the adapter said.
struct counted_down {
    counted_down(counter& g, std::size_t n) : gauge{g}, locks{n} {}
    ~counted_down() { gauge -= locks; }
    counted_down(const counted_down&) = delete;
    counted_down& operator=(const counted_down&) = delete;
    counter& gauge;
    std::size_t locks;
};

asio::awaitable<void> unlock_keys(flow_context& context, std::shared_ptr<adapter_slot> slot,
                                  std::vector<object_key> keys, task_scope::task& me)
{
    counted_down locks{context.counters.l2_locks, keys.size()};
    if (slot->closed)
        co_return; // its locks ended with it
    const auto timeout = slot->options().unlock_timeout;
    adapter_call call{slot, &adapter_slot::unlocks, slot->lookup_breaker.follow_up(), *context.clock, timeout, me};
    counted in_flight{context.counters.prefetch_in_flight};
    try {
        co_await slot->adapter().unlock(keys);
    } catch (...) {
        call.caught(); // the adapter's loss: it keeps objects that it could evict
    }
}

} // namespace

l2_locks::l2_locks(flow_context& context, std::shared_ptr<adapter_slot> slot, key_list keys, bitmap held)
    : owner_{context.owner.lock()},
      context_{&context},
      slot_{std::move(slot)},
      keys_{std::move(keys)},
      held_{std::move(held)}
{
    context_->counters.l2_locks += held_.count();
}

l2_locks::~l2_locks()
{
    if (context_ != nullptr && held_.any())
        unlock(held_);
}

void l2_locks::swap(l2_locks& other) noexcept
{
    owner_.swap(other.owner_);
    std::swap(context_, other.context_);
    slot_.swap(other.slot_);
    keys_.swap(other.keys_);
    std::swap(held_, other.held_);
}

void l2_locks::keep_only(const bitmap& wanted)
{
    if (held_.none())
        return;
    const bitmap surplus = held_ - wanted;
    if (surplus.none())
        return;
    held_ -= surplus;
    unlock(surplus);
}

l2_locks l2_locks::take(const bitmap& which)
{
    l2_locks taken;
    taken.owner_ = owner_;
    taken.context_ = context_;
    taken.slot_ = slot_;
    taken.keys_ = keys_;
    taken.held_ = held_ & which;
    held_ -= which;
    return taken;
}

asio::awaitable<void> l2_locks::give_back(task_scope::task& me)
{
    auto keys = gather<std::vector<object_key>, object_key>(*keys_, held_);
    auto unlocking = unlock_keys(*context_, slot_, std::move(keys), me);
    held_ = bitmap{held_.size()};
    co_await std::move(unlocking);
}

void l2_locks::unlock(const bitmap& which)
{
    auto keys = gather<std::vector<object_key>, object_key>(*keys_, which);
    asio::dispatch(context_->executor,
                   [owner = owner_, context = context_, slot = slot_, keys = std::move(keys)]() mutable {
                       context->spawn([&](task_scope::task& me) {
                           return unlock_keys(*context, std::move(slot), std::move(keys), me);
                       });
                   });
}

} // namespace terrace
