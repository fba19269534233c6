#pragma once

#include "flow/flow_context.hpp"

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include <terrace/memory_layout.hpp>
#include <terrace/object_key.hpp>
#include <terrace/write_lease.hpp>

namespace terrace {

/// The line of those who wait for memory in L1, in order of arrival. Who waits holds nothing, so that all can move on.
///
/// Threads: the engine's executor, but for on_room().
class room_queue {
public:
    explicit room_queue(flow_context& context) : context_{context} {}

    using attempt = std::function<std::optional<write_lease>(l1_cache::on_shortage)>;

    /// Tries until it succeeds whole, `deadline` passes, or worth_waiting() says that no memory will be released; then
    /// once more, for what there is. While it is the first in line, nobody who does not wait gets the memory it needs.
    ///
    /// try_reserve  reserves with the given behaviour on shortage
    /// bytes        that this takes at most
    /// Cancelled    operation_aborted; nothing is reserved
    /// Errors       errc::closed when the engine stops
    asio::awaitable<write_lease> reserve(attempt try_reserve, std::uint64_t bytes, std::function<bool()> worth_waiting,
                                         clock::time_point deadline);

    /// Memory has become free or evictable.
    void room() { wake_first(); }

private:
    /// One coroutine in line; it lives in that coroutine's frame, and leaves with it.
    struct place : boost::intrusive::list_base_hook<> {
        explicit place(room_queue& q) : queue{q}, turn{q.context_} { queue.line_.push_back(*this); }
        ~place()
        {
            if (first())
                queue.context_.l1->promise(0);
            queue.line_.erase(queue.line_.iterator_to(*this));
            queue.wake_first(); // pass the turn on
        }
        [[nodiscard]] bool first() const { return &queue.line_.front() == this; }

        room_queue& queue;
        flow_context::request turn;
    };

    void wake_first()
    {
        if (!line_.empty())
            line_.front().turn.wake().notify_all();
    }

    flow_context& context_;
    boost::intrusive::list<place, boost::intrusive::constant_time_size<false>> line_;
};

} // namespace terrace
