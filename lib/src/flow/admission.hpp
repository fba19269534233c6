#pragma once

#include "flow/flow_context.hpp"

#include <boost/intrusive/set.hpp>
#include <cstdint>
#include <memory>
#include <optional>

namespace terrace {

/// Bounds what prefetches load at a time, in bytes and in requests. Who is refused waits in line: by class, then by
/// priority, then first come first served.
///
/// Threads: the engine's executor. Lifetime: outlives its shares.
class admission_queue {
public:
    /// A warm request loads what somebody may want; it yields to every request that somebody waits for.
    enum class load_class : std::uint8_t { demand, warm };

    struct limits {
        std::uint64_t bytes = 0;
        std::uint64_t requests = 0;
        std::uint64_t waiting = 0; // the line's length
    };

    admission_queue(flow_context& context, limits limit) : context_{context}, limit_{limit} {}

    /// What was admitted, until it is given back by the end of this.
    class share {
    public:
        share(admission_queue& queue, std::uint64_t bytes) : queue_{queue}, bytes_{bytes}
        {
            queue_.bytes_ += bytes_;
            ++queue_.requests_;
        }
        ~share()
        {
            queue_.bytes_ -= bytes_;
            --queue_.requests_;
            queue_.wake_first();
        }
        share(const share&) = delete;
        share& operator=(const share&) = delete;

        /// Takes more without waiting: a request that has begun is better finished.
        void grow(std::uint64_t bytes)
        {
            bytes_ += bytes;
            queue_.bytes_ += bytes;
        }

    private:
        admission_queue& queue_;
        std::uint64_t bytes_;
    };

    /// Null if it would have to wait.
    [[nodiscard]] std::shared_ptr<share> try_admit(std::uint64_t bytes)
    {
        return line_.empty() && fits(bytes) ? std::make_shared<share>(*this, bytes) : nullptr;
    }

    /// Waits for its turn, and until there is room for `bytes`; a request of more than the limit is admitted alone.
    /// Null if the line is full, or at the deadline.
    /// Cancelled  nothing was admitted; the next in line gets the turn
    /// Errors     errc::closed when the engine stops
    asio::awaitable<std::shared_ptr<share>> admit(std::uint64_t bytes, load_class what, int priority,
                                                  std::optional<clock::time_point> deadline);

    [[nodiscard]] std::uint64_t waiting() const noexcept { return waiting_; } // any thread

private:
    /// One coroutine in line. It lives in that coroutine's frame, and leaves with it.
    struct waiter : boost::intrusive::set_base_hook<> {
        waiter(admission_queue& q, load_class c, int p)
            : queue{q},
              turn{q.context_},
              what{c},
              priority{p},
              number{++q.last_}
        {
            queue.line_.insert(*this);
            ++queue.waiting_;
        }
        ~waiter()
        {
            queue.line_.erase(queue.line_.iterator_to(*this));
            --queue.waiting_;
            queue.wake_first(); // pass the turn on
        }
        friend bool operator<(const waiter& a, const waiter& b) noexcept
        {
            if (a.what != b.what)
                return a.what < b.what;
            return a.priority != b.priority ? a.priority > b.priority : a.number < b.number;
        }

        admission_queue& queue;
        flow_context::request turn;
        load_class what;
        int priority;
        std::uint64_t number;
    };

    [[nodiscard]] bool fits(std::uint64_t bytes) const noexcept
    {
        return requests_ == 0 || (requests_ < limit_.requests && bytes_ + bytes <= limit_.bytes);
    }
    void wake_first()
    {
        if (!line_.empty())
            line_.begin()->turn.wake().notify_all();
    }

    flow_context& context_;
    const limits limit_;
    std::uint64_t bytes_ = 0;
    std::uint64_t requests_ = 0;
    std::uint64_t last_ = 0;
    counter waiting_;
    boost::intrusive::multiset<waiter, boost::intrusive::constant_time_size<false>> line_;
};

} // namespace terrace
