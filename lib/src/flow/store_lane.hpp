#pragma once

#include "flow/demotion_flow.hpp"
#include "flow/store_batch.hpp"

#include <deque>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

namespace terrace {

/// One adapter's queue of stores.
///
///                      +---- retry, after its backoff ----+
///                      v                                  |
///     enqueue ---> queued ---- its turn ----> in flight --+--> stored, or failed for good
///        |            |
///     refused      dropped: the queue is full, the adapter leaves, the engine stops
///
/// A coroutine works the queue off while there is anything in it. A job has its turn in order, when the adapter works
/// on few enough stores (on fewer while it works on loads), and its breaker permits it.
///
/// Of one key the adapter keeps the bytes that were committed last: what replaces has its turn when no other change of
/// the key is in flight, and what was overtaken meanwhile is not stored any more.
///
/// Threads: the engine's executor.
class store_lane : public std::enable_shared_from_this<store_lane> {
public:
    store_lane(flow_context& context, demotion_flow& demotion, std::shared_ptr<adapter_slot> slot);

    /// Jobs in the order of their objects, a chain's head first.
    void enqueue(std::vector<store_job> jobs);
    /// Nothing more is stored; what is in flight goes on.
    void close();

private:
    using retry_queue = std::multimap<clock::time_point, store_job>;

    void enqueue(store_job job);
    void start_working();
    asio::awaitable<void> work();
    asio::awaitable<void> make_room_for_next();
    void begin_next();
    class call_in_flight;
    asio::awaitable<void> store(store_job job, task_scope::task& me);

    [[nodiscard]] bool empty() const noexcept { return queue_.empty() && retries_.empty(); }
    [[nodiscard]] std::uint32_t may_be_in_flight() const noexcept;
    /// Whether a change of one of its keys is in flight that is to end before this.
    [[nodiscard]] bool comes_after_another(const store_job& job) const;
    [[nodiscard]] nanoseconds backoff(std::uint32_t failed_attempts);
    void requeue_due(clock::time_point now);
    /// What is to be done about jobs that an open breaker holds up; when it has to be done again.
    clock::time_point hold(clock::time_point now);
    void drop_beyond(std::uint64_t bytes, std::string_view why);
    [[nodiscard]] store_job take_oldest();
    void refuse(store_job job);
    void give_up(store_job job);
    void fail(store_job job, counter& as);
    void settle(store_job job, const bitmap& stored);
    void retry(store_job job, clock::time_point at);
    /// The job without these of its objects.
    [[nodiscard]] store_job without(store_job job, const bitmap& gone);
    /// The same; these are not stored, as newer bytes are or will be.
    [[nodiscard]] store_job without_overtaken(store_job job, const bitmap& overtaken);
    /// What waits for a retry and is older than a job that begins now and replaces it.
    void drop_retries_before(const store_job& job, const std::vector<object_key>& keys);
    void note_queued(const store_job& job);
    void note_taken(const store_job& job);

    flow_context& context_;
    demotion_flow& demotion_;
    const std::shared_ptr<adapter_slot> slot_;
    const std::uint64_t limit_bytes_;
    std::deque<store_job> queue_;
    retry_queue retries_; // by the time of the next attempt
    std::uint64_t queued_bytes_ = 0;
    std::uint64_t bytes_in_flight_ = 0;
    std::uint64_t objects_in_flight_ = 0;
    std::uint32_t in_flight_ = 0; // calls that have not missed their timeout
    bool working_ = false;
    bool demoting_ = false;
    bool closed_ = false;
};

} // namespace terrace
