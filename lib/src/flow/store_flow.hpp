#pragma once

#include "flow/demotion_flow.hpp"
#include "flow/store_batch.hpp"
#include "flow/store_decisions.hpp"
#include "flow/store_lane.hpp"

#include <cstdint>
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
/// until it is done. No queue therefore ever holds more than L1 does.
///
/// Threads: the engine's executor, but for offer() and held_bytes().
class store_flow : private store_batch::listener {
public:
    store_flow(flow_context& context, std::shared_ptr<store_policy> policy, std::uint64_t window_bytes)
        : context_{context},
          decisions_{context, std::move(policy)},
          changed_{context.executor},
          demotion_{context, decisions_, window_bytes}
    {
    }

    /// Takes over what was committed, or is wanted. Any thread. True: take_offers() has to be called on the executor.
    [[nodiscard]] bool offer(store_offer objects);
    void take_offers();

    /// What is locked in L1 for stores, at most: an object of a batch may be done before the batch is. Any thread.
    [[nodiscard]] std::uint64_t held_bytes() const noexcept { return held_bytes_; }

    /// Waits until everything committed so far is stored, has failed to be, or is late.
    asio::awaitable<void> flush();

    /// Drops what is queued for this adapter; what is in flight goes on.
    void leave(const adapter_slot& slot);
    /// Drops everything that is queued.
    void stop();

private:
    void consider(store_offer offered);
    /// Divides what the policy chose into batches that make one call each, and queues their jobs.
    void enqueue(const store_offer& chosen, const adapter_list& adapters, const std::vector<bitmap>& targets);
    void done(const store_batch& batch, const read_lease& objects, const bitmap& stored, const bitmap& failed) override;
    void late(const store_batch& batch) noexcept override;
    void ended(const store_batch& batch) noexcept override;
    [[nodiscard]] store_lane& lane(const std::shared_ptr<adapter_slot>& slot);

    flow_context& context_;
    store_decisions decisions_;

    std::mutex mutex_;
    std::vector<store_offer> offered_; // under the mutex: not seen by the executor yet

    std::set<std::uint64_t> outstanding_; // numbers of the batches that are neither done nor late
    std::uint64_t last_batch_ = 0;
    counter held_bytes_; // of offers not considered yet, and of batches
    event changed_;      // a batch is done
    demotion_flow demotion_;
    std::map<adapter_id, std::shared_ptr<store_lane>> lanes_; // the last member: their batches use the others
};

} // namespace terrace
