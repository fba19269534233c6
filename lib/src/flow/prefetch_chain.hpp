#pragma once

#include "flow/admission.hpp"
#include "flow/flow_context.hpp"
#include "flow/l2_locks.hpp"
#include "flow/load_calls.hpp"
#include "flow/load_flight.hpp"
#include "flow/prefetch_run.hpp"
#include "flow/rendezvous.hpp"
#include "flow/room_queue.hpp"

#include <memory>
#include <optional>
#include <vector>

#include <terrace/prefetch.hpp>
#include <terrace/prefetch_policy.hpp>

namespace terrace {

/// lookup → plan → trim to prefix → reserve L1 → load → finish_write_and_reserve_read.
///
/// Cancelled  operation_aborted, with every lock given back; I/O that has started and that nobody else waits for is
///            asked to stop, and keeps its buffers until it has
/// Errors     errc::closed when the engine stops
/// Threads    the engine's executor, but for what says otherwise
class prefetch_chain {
public:
    prefetch_chain(flow_context& context, room_queue& room, const config& cfg);

    /// Whoever wants to hear how a run gets on.
    class observer {
    public:
        virtual ~observer() = default;
        virtual void begun(prefetch_run& run) = 0;    ///< it lives until ended()
        virtual void looked_up(std::size_t hits) = 0; ///< once
        virtual void progressed() = 0;                ///< more may be readable
        virtual void ended() = 0;
    };

    /// A request that has just come, and what L1 has of it.
    struct arrival {
        clock::time_point at;
        l1_pins pins;
    };
    /// The first step of each request, which has been checked. Any thread.
    [[nodiscard]] arrival receive(const prefetch_request& request);
    /// All that it wants, if L1 has it: nothing is allocated for it, and nothing waited for. Else nothing. Any thread.
    [[nodiscard]] std::optional<prefetch_result> answer_from_l1(const prefetch_request& request, arrival& came);

    /// The whole chain; lookup and load overlap where adapters differ in speed.
    asio::awaitable<prefetch_result> prefetch(prefetch_request request, arrival came, observer* seen_by = nullptr);

    /// The first half: nothing is moved.
    asio::awaitable<std::unique_ptr<prefetch_run>> look_up(prefetch_request request);
    /// The second half.
    asio::awaitable<prefetch_result> load(std::unique_ptr<prefetch_run> run);

    [[nodiscard]] std::uint64_t waiting() const noexcept { return admission_.waiting(); } // any thread

private:
    using lookups = rendezvous<l2_locks>;
    class lookup_round;
    enum class goal { found, loaded };

    [[nodiscard]] std::unique_ptr<prefetch_run> begin(prefetch_request request, arrival came);
    asio::awaitable<void> drive(prefetch_run& run, goal until, observer* seen_by);
    [[nodiscard]] prefetch_result finish(prefetch_run& run);
    /// What a request gets of what is pinned for it: `shape` says which, `resident` what was there when it came. Any
    /// thread.
    [[nodiscard]] prefetch_result answer(const request_shape& shape, lock_mode lock, clock::time_point came,
                                         l1_pins pins, const bitmap& resident);

    asio::awaitable<void> look_up_in(std::shared_ptr<adapter_slot> slot, breaker::permit permit, key_list keys,
                                     bitmap missing, std::shared_ptr<lookups> place, std::size_t call,
                                     task_scope::task& me);

    void join_loads(prefetch_run& run, const bitmap& candidates);
    [[nodiscard]] bitmap plan(prefetch_run& run, std::vector<bitmap>& chosen) const;
    asio::awaitable<void> start_loads(prefetch_run& run, std::vector<bitmap> chosen);
    asio::awaitable<void> wait_for_admission(prefetch_run& run, std::uint64_t bytes);
    void launch(prefetch_run& run, write_lease staged, const load_call& call);
    asio::awaitable<write_lease> reserve(const prefetch_run& run, const bitmap& which);
    asio::awaitable<void> load_from(std::shared_ptr<load_flight> flight, l2_locks locks, task_scope::task& me);

    flow_context& context_;
    room_queue& room_;
    const std::shared_ptr<const prefetch_policy> policy_;
    const late_load_policy late_loads_;
    const std::chrono::milliseconds room_timeout_;
    const std::uint64_t window_bytes_;
    admission_queue admission_;
    flight_table flights_;
};

} // namespace terrace
