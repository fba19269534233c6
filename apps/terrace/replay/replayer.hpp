#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <terrace/storage_manager.hpp>

#include "replay/pace.hpp"
#include "replay/statistics.hpp"
#include "replay/trace.hpp"

namespace terrace::replay {

/// Whether objects carry bytes that prove whose they are.
enum class verification : std::uint8_t {
    none,       ///< written from one random block; what is read is not touched
    every_byte, ///< written and compared by pattern.hpp, which costs time that counts into the replay's
};

/// How far a replay has come.
struct replay_progress {
    std::uint64_t requests = 0; ///< done
    std::uint64_t total = 0;
    std::uint64_t blocks = 0;
    std::uint64_t prefix_hit_blocks = 0;
    std::chrono::nanoseconds elapsed{0};
};

/// How a trace is replayed.
struct replay_options {
    std::uint64_t object_bytes = 64 * 1024; ///< of one block; >= 1, and no more than L1 holds
    std::size_t concurrency = 1;            ///< clients, each with one request at a time; 1 to 65536
    replay::pace pace = replay::pace::asap();
    double prefill_tokens_per_second = 10'000; ///< > 0; what a large model reaches on one GPU, by order of magnitude
    verification verify = verification::none;
    std::chrono::milliseconds room_timeout{30'000}; ///< how long a client waits for room in L1 before it drops blocks
    std::chrono::milliseconds stop_timeout{5'000}; ///< after a signal, how long what was written may go on being stored
    std::function<void(const replay_progress&)> on_progress = {}; ///< after each request; may be empty
};

/// What a replay did. Ratios and percentiles are report.hpp's.
struct replay_outcome {
    std::uint64_t requests = 0;          ///< done, failed ones included
    std::uint64_t blocks = 0;            ///< of these
    std::uint64_t prefix_hit_blocks = 0; ///< read from a tier, the two below
    std::uint64_t l1_hit_blocks = 0;
    std::uint64_t l2_hit_blocks = 0;
    std::uint64_t refused_objects = 0;    ///< that L1 had no room for
    std::uint64_t mismatched_objects = 0; ///< whose bytes were not as they had been written
    std::uint64_t failed_calls = 0;       ///< of the engine, and proofs that failed after close()

    std::vector<std::chrono::nanoseconds> waits;    ///< for each prefetch that did not fail, ascending
    prefill_model::milliseconds ttft_with_cache{0}; ///< sums over `waits.size()` requests
    prefill_model::milliseconds ttft_without_cache{0};

    std::chrono::nanoseconds elapsed{0};  ///< from the first request's start to the last one's end
    std::chrono::nanoseconds draining{0}; ///< from there until everything was stored
    engine_status engine;                 ///< then
    std::uint64_t peak_rss_bytes = 0;     ///< of the process
    int signal = 0;                       ///< that ended the replay early; 0: none did
    std::vector<std::string> problems;    ///< the first few failures, in words

    [[nodiscard]] std::uint64_t dropped_objects() const noexcept;
    [[nodiscard]] std::uint64_t corrupt_objects() const noexcept;
    [[nodiscard]] std::uint64_t errors() const noexcept;
    /// Nothing was dropped, corrupt or in error.
    [[nodiscard]] bool clean() const noexcept;
};

/// Plays a trace against an engine of its own: for each request, in order, prefetches its blocks, reads the hits,
/// writes the others.
///
/// Engine and clients run on one io_context, on the thread that calls run(). SIGINT and SIGTERM end the replay after
/// the requests in progress, and drop what takes longer than `stop_timeout` to be stored; a second one ends the
/// process.
class replayer {
public:
    /// requests  outlive the replayer; at least one
    ///
    /// Throws std::invalid_argument that names an option that cannot be, and what storage_manager's constructor throws.
    replayer(std::span<const trace_request> requests, config engine, replay_options options);
    ~replayer();

    /// Before run().
    void add_adapter(std::unique_ptr<l2_adapter> adapter, adapter_options options = {});

    /// Once. What fails while it runs is counted and does not end it.
    [[nodiscard]] replay_outcome run();

private:
    asio::awaitable<void> replay();
    asio::awaitable<void> client(asio::steady_timer& alarm);
    asio::awaitable<void> serve(const trace_request& request);
    asio::awaitable<std::size_t> read_hits(const trace_request& request, std::vector<object_key> keys);
    asio::awaitable<void> write_missing(std::vector<object_key> keys);
    asio::awaitable<void> finish();

    const trace_request* take() noexcept;
    void stop(int signal);
    void check_bytes(const read_lease& hits);
    void fill(write_lease& room);
    void expect_nothing_left(const engine_status& left);
    void fail(std::string problem);
    void report_progress() const;

    std::span<const trace_request> requests_;
    replay_options options_;
    memory_layout layout_;
    object_key first_key_;      // of block 0; the others are this one with_hash()
    std::size_t batch_objects_; // that one reservation asks for at most
    prefill_model prefill_;
    std::vector<std::byte> filler_; // what is written under verification::none

    asio::io_context context_{1}; // outlives the engine, whose coroutines it destroys
    asio::signal_set signals_{context_};
    std::vector<asio::steady_timer> alarms_;                                             // one for each client
    asio::steady_timer give_up_{context_, std::chrono::steady_clock::time_point::max()}; // what is not stored by then
    asio::cancellation_signal flushing_;
    std::optional<storage_manager> engine_;

    std::size_t taken_ = 0;
    std::chrono::steady_clock::time_point started_;
    replay_outcome outcome_;
};

} // namespace terrace::replay
