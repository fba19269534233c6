#pragma once

#include "flow/flow_context.hpp"
#include "flow/l2_locks.hpp"
#include "flow/rendezvous.hpp"
#include "flow/room_queue.hpp"

#include <functional>
#include <memory>
#include <vector>

#include <terrace/prefetch.hpp>
#include <terrace/prefetch_policy.hpp>

namespace terrace {

/// What lookup has found and pinned for one request: the state between the two halves of the chain. Everything is a
/// guard; dropping it gives all of it back.
struct pinned_request {
    pinned_request() = default;
    pinned_request(pinned_request&&) = default;
    pinned_request& operator=(pinned_request&&) = default;

    key_list keys;
    memory_layout layout;
    std::uint32_t readers = 1;
    trim_rule trim = trim_rule::prefix;
    lock_mode lock = lock_mode::yes;
    std::optional<clock::time_point> deadline;
    clock::time_point started;

    l1_pins pins;                // what L1 has
    std::vector<l2_locks> locks; // what each source has of the rest and will load, by index of adapter
    bitmap usable;               // both together, after the trim
    bool timed_out = false;      // the lookup missed the request's deadline
};

/// lookup → plan → trim to prefix → reserve L1 → load → finish_write_and_reserve_read.
///
/// Cancelled  operation_aborted, with every lock given back; I/O that has started is asked to stop and keeps its
///            buffers until it has
/// Errors     errc::closed when the engine stops
/// Threads    the engine's executor
class prefetch_chain {
public:
    prefetch_chain(flow_context& context, room_queue& room, std::function<bool()> stores_hold_memory, const config& cfg)
        : context_{context}, room_{room}, stores_hold_memory_{std::move(stores_hold_memory)}, policy_{cfg.prefetch},
          late_loads_{cfg.late_loads}, room_timeout_{cfg.prefetch_room_timeout}
    {
    }

    /// The first half: nothing is moved. The request has been checked.
    asio::awaitable<pinned_request> look_up(prefetch_request request);
    /// The second half.
    asio::awaitable<prefetch_result> load(pinned_request found);

private:
    /// What one adapter loads for a request.
    struct load_part {
        load_part() = default;
        load_part(load_part&&) = default;
        load_part& operator=(load_part&&) = default;

        write_lease staged;
        std::vector<std::uint32_t> positions; // of each staged key in the request
        bitmap loaded;                        // by index in `staged`
    };
    using lookups = rendezvous<l2_locks>;
    using loads = rendezvous<load_part>;

    asio::awaitable<void> look_up_in(std::shared_ptr<adapter_slot> slot, key_list keys, bitmap missing,
                                     std::shared_ptr<lookups> place, std::size_t call, task_scope::task& me);
    asio::awaitable<void> load_from(l2_locks locks, load_part part, memory_layout layout, std::shared_ptr<loads> place,
                                    std::size_t call, task_scope::task& me);
    asio::awaitable<void> look_up_in_l2(pinned_request& request);
    asio::awaitable<void> load_from_l2(pinned_request& request, flow_context::request& turn);
    asio::awaitable<write_lease> reserve(const pinned_request& request, std::vector<object_key> keys, bitmap retained);
    [[nodiscard]] bitmap trimmed(const pinned_request& request, bitmap found) const;

    /// Waits until every call has settled, or the request's deadline: false.
    template <class Answer>
    asio::awaitable<bool> all_settled(rendezvous<Answer>& place, std::optional<clock::time_point> deadline,
                                      flow_context::request& turn);

    flow_context& context_;
    room_queue& room_;
    const std::function<bool()> stores_hold_memory_;
    const std::shared_ptr<const prefetch_policy> policy_;
    const late_load_policy late_loads_;
    const std::chrono::milliseconds room_timeout_;
};

} // namespace terrace
