#pragma once

#include "flow/flow_context.hpp"

#include <algorithm>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include <terrace/write_lease.hpp>

namespace terrace {

/// What one who is short of room needs, and for whom it has the patience.
struct room_wish {
    /// Stores let go of memory by themselves, and soon. A reader may wait for whoever waits for it.
    enum class patience : std::uint8_t { stores, anyone };

    std::uint64_t bytes = 0;
    patience waits_for = patience::stores;
};

/// Who has L1's memory.
struct room_holders {
    l1_room l1;
    std::uint64_t stores = 0; ///< bytes, at most: readers may hold some of them as well
};

/// Who of a line waits, and who takes what there is: to be asked about each in line, from the first on.
class room_forecast {
public:
    explicit room_forecast(const room_holders& now) noexcept : now_{now} {}

    /// Whether the next in line may come to all of its wish once those it waits for let go.
    [[nodiscard]] bool worth_waiting(const room_wish& wish) noexcept
    {
        const std::uint64_t stores = std::min(now_.stores, now_.l1.held_bytes);
        const bool by_stores = stores != 0 && wish.bytes <= now_.l1.usable_bytes - now_.l1.held_bytes + stores;
        const bool by_anyone = (now_.l1.held_bytes != 0 || !first_) && wish.bytes <= now_.l1.usable_bytes;
        const bool waits =
            wish.waits_for == room_wish::patience::stores ? by_stores && stores_move_the_line_ : by_anyone;
        if (waits)
            stores_move_the_line_ = stores_move_the_line_ && by_stores;
        first_ = false;
        return waits;
    }

private:
    const room_holders now_;
    bool stores_move_the_line_ = true; // as far as it has been asked about
    bool first_ = true;
};

/// The line of those who wait for memory in L1, in order of arrival. Who waits holds nothing, so that all can move on.
///
/// Threads: the engine's executor.
class room_queue {
public:
    /// held_by_stores  room_holders::stores
    room_queue(flow_context& context, std::function<std::uint64_t()> held_by_stores)
        : context_{context},
          held_by_stores_{std::move(held_by_stores)}
    {
    }

    using attempt = std::function<std::optional<write_lease>(l1_cache::on_shortage)>;

    /// Tries until it succeeds whole, `deadline` passes, or it is not worth waiting; then once more, for what there is.
    /// While it is the first in line, nobody else gets the memory it needs.
    ///
    /// try_reserve  reserves with the given behaviour on shortage
    /// wish         what that takes at most
    /// Cancelled    operation_aborted; nothing is reserved
    /// Errors       errc::closed when the engine stops
    asio::awaitable<write_lease> reserve(attempt try_reserve, room_wish wish, clock::time_point deadline);

    /// Memory has become free or evictable.
    void room() { wake(); }

private:
    /// One coroutine in line; it lives in that coroutine's frame, and leaves with it.
    struct place : boost::intrusive::list_base_hook<> {
        place(room_queue& q, const room_wish& w) : queue{q}, wish{w}, turn{q.context_} { queue.line_.push_back(*this); }
        ~place()
        {
            if (first())
                queue.context_.l1->promise(0);
            queue.line_.erase(queue.line_.iterator_to(*this));
            queue.wake(); // pass the turn on
        }
        [[nodiscard]] bool first() const { return &queue.line_.front() == this; }

        room_queue& queue;
        const room_wish wish;
        flow_context::request turn;
    };

    [[nodiscard]] room_forecast forecast() const { return room_forecast{{context_.l1->room(), held_by_stores_()}}; }
    [[nodiscard]] bool worth_waiting(const place& me) const;
    /// The first, and whoever has nothing to wait for any more.
    void wake();

    flow_context& context_;
    const std::function<std::uint64_t()> held_by_stores_;
    boost::intrusive::list<place, boost::intrusive::constant_time_size<false>> line_;
};

} // namespace terrace
