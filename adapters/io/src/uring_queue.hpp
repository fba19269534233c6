#pragma once

#include <array>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <deque>
#include <liburing.h>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include <terrace/error.hpp>
#include <terrace/io/transfer.hpp>
#include <terrace/io/unique_fd.hpp>

#include "in_flight_budget.hpp"
#include "registered_memory.hpp"

namespace terrace::io {

/// Owns an io_uring and the eventfd that tells of its completions.
class ring {
public:
    /// Throws std::system_error if the kernel refuses.
    explicit ring(std::uint32_t depth);
    ~ring() { ::io_uring_queue_exit(&ring_); }
    ring(const ring&) = delete;
    ring& operator=(const ring&) = delete;

    [[nodiscard]] io_uring* get() noexcept { return &ring_; }
    [[nodiscard]] const unique_fd& event() const noexcept { return event_; }

private:
    io_uring ring_{};
    unique_fd event_;
};

/// The line in front of an io_uring, and what is in it.
///
///     add(), hand_over() -> the client's line -> a slot, in the kernel -> ended()
///                                                  |     ^
///                                                  +-----+  a call that stopped short is continued
///
/// Clients take turns, transfer by transfer. What is begun in one turn of the executor is submitted by one system call.
///
/// Threads: hand_over() any; until detach() all others the executor; after it nobody but who calls stop().
class uring_queue : public std::enable_shared_from_this<uring_queue> {
public:
    /// Somebody with transfers: a batch.
    class client {
    public:
        virtual ~client() = default;
        /// The transfer is over, or was left out. Nothing of the queue may be called from here.
        virtual void ended(transfer& t) = 0;

    private:
        friend class uring_queue;
        std::deque<transfer*> line_;
        bool left_out_ = false; // what is not begun never will be
    };

    /// Throws std::system_error if the kernel refuses.
    uring_queue(std::uint32_t depth, std::uint64_t in_flight_bytes);

    // If one of these throws, the queue knows nothing of its transfers.

    void add(const std::shared_ptr<client>& owner, std::span<transfer> transfers, const asio::any_io_executor& here);
    void hand_over(const std::shared_ptr<client>& owner, transfer& t, const asio::any_io_executor& home);

    /// Transfers from and into this memory are cheaper from now on. Blocks; any thread, also while the queue works.
    void register_memory(std::span<std::byte> memory) noexcept { registered_.grow(memory); }
    [[nodiscard]] const registered_memory& registered() const noexcept { return registered_; }

    /// Ends what the client has in line. What is in the kernel goes on.
    void leave_out(client& owner);

    /// From now on it does nothing of its own: stop() follows, perhaps in another thread.
    void detach() noexcept;
    /// Ends what is in line, waits for what is in the kernel.
    void stop() noexcept;

private:
    struct waiting {
        std::shared_ptr<client> owner;
        transfer* what = nullptr;
    };
    /// One call in the kernel. Its completions carry generation, index and part: one that is late or wrong fits no
    /// slot.
    ///
    /// A registered body goes without its head, which is not: then each part is an entry of its own.
    struct slot {
        waiting call;
        std::uint32_t generation = 0;
        std::uint64_t bytes = 0;
        std::array<iovec, 2> parts{}; // older kernels read them after the submission
        std::uint32_t entries = 0;    // made of it: 1 or 2
        std::uint32_t missing = 0;    // of these, not ended
        std::array<std::int64_t, 2> results{};
    };

    void wake_soon(const asio::any_io_executor& home);
    void take_handed_over();
    void enqueue(const std::shared_ptr<client>& owner, transfer& t);
    void step();
    void begin_what_fits();
    [[nodiscard]] waiting take_turn();
    void begin(waiting next, const transfer::call& c);
    void prepare(slot& s, std::uint32_t index, const transfer::call& c);
    void submit();
    void reap();
    void end(std::uint64_t id, std::int64_t result);
    void watch();

    std::mutex handed_over_mutex_; // for the next two
    std::vector<waiting> handed_over_;
    bool waking_ = false; // a step() is posted

    asio::any_io_executor home_;                          // of the latest call; null while there is nothing to do
    std::optional<asio::posix::stream_descriptor> event_; // while something is in the kernel: an idle queue has no tie
                                                          // to any executor
    bool waiting_for_event_ = false;
    bool detached_ = false;

    std::deque<std::shared_ptr<client>> turns_; // with something in line, each once
    std::deque<waiting> continued_;             // begun, stopped short: before all others
    std::vector<slot> slots_;                   // before the ring, which is gone first
    std::vector<std::uint32_t> free_;
    std::uint64_t in_flight_bytes_ = 0;
    bool limited_ = false; // since the last reap(), something had to wait for the budget
    in_flight_budget budget_;
    ring ring_;
    registered_memory registered_{ring_.get()};
};

} // namespace terrace::io
