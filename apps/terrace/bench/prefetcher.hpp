#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <span>
#include <vector>

#include <terrace/storage_manager.hpp>

#include "bench/engine_bed.hpp"

namespace terrace::bench {

/// What every request is to bring.
struct expected_hits {
    std::size_t keys = 0;
    bool in_l1 = false; ///< or else from L2
};

/// Requests that are made before the clock runs: so many, each for the next set of keys, and from the first again.
class request_queue {
public:
    /// keys  of all sets, one after the other
    request_queue(std::span<const object_key> keys, std::size_t keys_per_request, memory_layout layout)
        : keys_{keys},
          per_request_{keys_per_request},
          layout_{std::move(layout)}
    {
    }

    void refill(std::size_t requests);
    [[nodiscard]] bool empty() const noexcept { return next_ == requests_.size(); }
    [[nodiscard]] prefetch_request take() { return std::move(requests_[next_++]); }

private:
    std::span<const object_key> keys_;
    std::size_t per_request_;
    memory_layout layout_;
    std::size_t next_set_ = 0;
    std::vector<prefetch_request> requests_;
    std::size_t next_ = 0;
};

/// Each makes one request after the other until the queue is empty, drops what it gets, and notes the microseconds
/// from each call to the lease in its hands. Throws std::runtime_error if a request brings anything else.
asio::awaitable<void> prefetch_on_executor(storage_manager& engine, request_queue& queue, expected_hits hits,
                                           std::vector<double>& waits_us);
/// From a thread that sleeps until it has its answer.
void prefetch_and_sleep(storage_manager& engine, request_queue& queue, expected_hits hits,
                        std::vector<double>& waits_us);
/// From a thread that looks for its answer all the time.
void prefetch_and_spin(storage_manager& engine, request_queue& queue, expected_hits hits,
                       std::vector<double>& waits_us);

/// From a coroutine on the engine's executor, `clients` at a time.
asio::awaitable<void> prefetch_side_by_side(storage_manager& engine, request_queue& queue, expected_hits hits,
                                            std::size_t clients);

/// The microseconds that an empty handler takes to the executor and its answer back, by sleeping and by looking.
void round_trips_asleep(asio::io_context& context, std::size_t n, std::vector<double>& trips_us);
void round_trips_spinning(asio::io_context& context, std::size_t n, std::vector<double>& trips_us);

} // namespace terrace::bench
