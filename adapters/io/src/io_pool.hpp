#pragma once

#include <atomic>
#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>

#include <terrace/error.hpp>

namespace terrace::io {

/// Threads for calls that block. A batch crosses to them once and comes back once, however many items it has.
///
/// Batches that meet take turns, item by item, so that a large one does not hold up a small one.
class io_pool {
public:
    using work = std::function<void(std::size_t)>;

    explicit io_pool(std::size_t threads);
    ~io_pool() { stop(); }
    io_pool(const io_pool&) = delete;
    io_pool& operator=(const io_pool&) = delete;

    /// Calls `item` for 0 to items - 1, in this order, on several threads at once.
    ///
    /// grain      items that one thread takes at a time, >= 1: more for what is cheaper than to wake a thread
    /// Errors     the first thing that an item threw
    /// Cancelled  items not yet begun are left out. It does not throw: what was done is done
    /// Lifetime   ends when no thread touches `item` any more; until then `item` and the pool stay
    /// Threads    awaited on any executor
    asio::awaitable<void> for_each(std::size_t items, std::size_t grain, const work& item);

    /// Calls `f` on a thread, after all that was asked for before; in the calling one after stop().
    void post(std::function<void()> f);
    /// Whether something waits for a thread.
    [[nodiscard]] bool busy() const noexcept { return queued_ != 0; }
    [[nodiscard]] std::size_t threads() const noexcept { return thread_count_; }

    /// Leaves out what is not yet begun, waits for the rest and ends the threads. Nothing may follow it.
    asio::awaitable<void> close();

    /// The same, in the calling thread. Batches under way complete on their executors, now or later.
    void stop() noexcept;

private:
    struct batch;
    using completion = asio::any_completion_handler<void(std::exception_ptr)>;

    void start(asio::any_io_executor home, std::size_t items, std::size_t grain, const work& item, completion done);
    void enqueue(std::shared_ptr<batch> b);
    void run(const std::shared_ptr<batch>& b);
    static void one_less(batch& of);

    std::size_t thread_count_;
    std::atomic<bool> stopping_ = false;
    std::atomic<bool> stopped_ = false;
    std::atomic<std::size_t> queued_ = 0; // turns that wait for a thread
    asio::thread_pool threads_;
};

} // namespace terrace::io
