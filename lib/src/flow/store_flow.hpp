#pragma once

#include "flow/flow_context.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include <terrace/store_policy.hpp>

namespace terrace {

/// Brings what callers commit into the adapters that the policy names.
///
/// Committed objects come in locked, so that none is evicted before it is stored; each target holds a lease of its own
/// until it is done. The queue therefore never holds more than L1 does: where stores cannot keep up, it is
/// reserve_write_when_free() that waits.
///
/// Threads: the engine's executor, but for on_commit() and holds_memory().
class store_flow {
public:
    store_flow(flow_context& context, std::shared_ptr<const store_policy> policy)
        : context_{context},
          policy_{std::move(policy)},
          changed_{context.executor}
    {
    }

    /// Takes over what was committed. Any thread. True: take_committed() has to be called on the executor.
    [[nodiscard]] bool on_commit(read_lease fresh);
    void take_committed();

    /// Whether objects in L1 are locked for stores. Any thread.
    [[nodiscard]] bool holds_memory() const noexcept { return batches_ != 0; }

    /// Waits until everything committed so far is stored, or has failed to be.
    asio::awaitable<void> flush();

    /// Drops what is queued for this adapter; what is in flight goes on.
    void leave(const adapter_slot& slot);
    /// Drops everything that is queued.
    void stop();

private:
    /// What one commit brought, until its last target is done.
    class batch;
    /// A batch's part for one adapter.
    struct job {
        std::shared_ptr<batch> of;
        read_lease objects; // the target's own
        bitmap which;       // of the batch
    };
    /// One adapter's queue.
    struct lane {
        explicit lane(std::shared_ptr<adapter_slot> s) : slot{std::move(s)} {}
        std::shared_ptr<adapter_slot> slot;
        std::deque<job> queue;
        std::uint32_t in_flight = 0;
        bool pumping = false;
    };

    void enqueue(read_lease fresh);
    void pump(const std::shared_ptr<lane>& to);
    void drop_queue(lane& from);
    void note_queued(const job& j, bool queued);
    asio::awaitable<void> store(std::shared_ptr<lane> to, job work, task_scope::task& me);

    flow_context& context_;
    const std::shared_ptr<const store_policy> policy_;

    std::mutex mutex_;
    std::vector<read_lease> committed_; // under the mutex: not seen by the executor yet

    std::set<std::uint64_t> outstanding_; // numbers of the batches that are not done
    std::uint64_t last_batch_ = 0;
    counter batches_;                                   // committed and outstanding
    event changed_;                                     // a batch is done
    std::map<adapter_id, std::shared_ptr<lane>> lanes_; // the last member: its jobs' batches use the others
};

} // namespace terrace
