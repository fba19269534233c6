#include "flow/room_queue.hpp"

namespace terrace {

asio::awaitable<write_lease> room_queue::reserve(attempt try_reserve, room_wish wish, clock::time_point deadline)
{
    using on_shortage = l1_cache::on_shortage;
    place me{*this, wish};
    bool late = false;
    clock::alarm alarm{*context_.clock, [&] {
                           late = true;
                           me.turn.wake().notify_all();
                       }};
    alarm.set(deadline);
    while (true) {
        context_.throw_if_stopping();
        context_.l1->ask_for_room(); // before the attempt: what is released from here on is told
        std::optional<write_lease> lease;
        if (me.first()) {
            context_.l1->promise(0);
            lease = try_reserve(on_shortage::give_up);
        }
        if (!lease && (late || !worth_waiting(me)))
            lease = try_reserve(on_shortage::keep_leading);
        if (lease)
            co_return std::move(*lease);
        if (me.first())
            context_.l1->promise(wish.bytes);
        co_await me.turn.wake().wait();
    }
}

bool room_queue::worth_waiting(const place& me) const
{
    room_forecast ahead = forecast();
    for (const place& other : line_) {
        const bool worth = ahead.worth_waiting(other.wish);
        if (&other == &me)
            return worth;
    }
    return false;
}

void room_queue::wake()
{
    if (line_.empty())
        return;
    room_forecast ahead = forecast();
    for (place& waiting : line_)
        if (!ahead.worth_waiting(waiting.wish) || waiting.first())
            waiting.turn.wake().notify_all();
}

} // namespace terrace
