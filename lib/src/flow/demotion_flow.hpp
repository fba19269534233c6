#pragma once

#include "flow/flow_context.hpp"
#include "flow/l2_locks.hpp"
#include "flow/store_decisions.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <terrace/l2_adapter.hpp>

namespace terrace {

/// Makes room in an adapter that has a capacity by moving what it would evict to the adapter that the policy names:
/// through memory of its own, since L1 is full just when this is needed.
///
/// What is being moved stays locked above until it is stored below, so that a lookup finds it in one of the two at any
/// moment. It is then removed above, unless somebody has locked it meanwhile: it is in both then.
///
/// It replaces what the tier below has of it: that may be from before an update, which went to the tier above alone.
/// What is being stored anew does not move, or newer bytes could be removed above than are stored below.
///
/// Threads: the engine's executor.
class demotion_flow {
public:
    /// window_bytes  moved at a time, which is the memory that it takes; a larger object goes alone
    demotion_flow(flow_context& context, store_decisions& decisions, std::uint64_t window_bytes)
        : context_{context},
          decisions_{decisions},
          window_bytes_{window_bytes}
    {
    }

    /// Whether what this adapter evicts moves anywhere.
    [[nodiscard]] bool applies_to(const adapter_slot& slot) const;

    /// Makes room for so many objects of so many bytes in all, as far as it can; done() is called at the end.
    asio::awaitable<void> make_room(std::shared_ptr<adapter_slot> in, std::uint64_t objects, std::uint64_t bytes,
                                    task_scope::task& me, std::function<void()> done);

private:
    using slot_ptr = std::shared_ptr<adapter_slot>;

    [[nodiscard]] slot_ptr below(const adapter_slot& slot) const;
    /// Whether I/O may still begin on this tier: a move is long, and the engine may close or the tier leave meanwhile.
    [[nodiscard]] bool usable(const adapter_slot& slot) const
    {
        return !context_.stopping() && !slot.leaving && !slot.closed;
    }
    /// depth  of tiers that make room for one another, so that a policy that goes in circles comes to an end
    asio::awaitable<void> move_down(slot_ptr from, std::uint64_t objects, std::uint64_t bytes, std::size_t depth,
                                    task_scope::task& me);
    class locked_victims;
    asio::awaitable<locked_victims> lock_victims(slot_ptr from, std::uint64_t objects, std::uint64_t bytes,
                                                 task_scope::task& me);
    /// Copies them down and removes them above; false if some could not be copied.
    asio::awaitable<bool> move_all(slot_ptr from, slot_ptr onto, locked_victims locked, std::size_t depth,
                                   task_scope::task& me);
    /// Which of them are below now.
    asio::awaitable<bitmap> copy_down(slot_ptr from, slot_ptr onto, std::span<const stored_object> victims,
                                      std::size_t depth, task_scope::task& me);

    flow_context& context_;
    store_decisions& decisions_;
    const std::uint64_t window_bytes_;
};

} // namespace terrace
