#include "flow/room_queue.hpp"

namespace terrace {

asio::awaitable<write_lease> room_queue::reserve(attempt try_reserve, std::uint64_t bytes,
                                                 std::function<bool()> worth_waiting, clock::time_point deadline)
{
    using on_shortage = l1_cache::on_shortage;
    place me{*this};
    bool late = false;
    clock::alarm alarm{*context_.clock, [&] {
                           late = true;
                           me.turn.wake().notify_all();
                       }};
    alarm.set(deadline);
    while (true) {
        context_.throw_if_stopping();
        if (me.first()) {
            context_.l1->promise(0);
            context_.l1->ask_for_room(); // before the attempt: what is released from here on is told
            auto lease = try_reserve(on_shortage::give_up);
            if (!lease && (late || !worth_waiting()))
                lease = try_reserve(on_shortage::keep_leading);
            if (lease)
                co_return std::move(*lease);
            context_.l1->promise(bytes);
        } else if (late) {
            auto lease = try_reserve(on_shortage::keep_leading);
            co_return std::move(*lease);
        }
        co_await me.turn.wake().wait();
    }
}

} // namespace terrace
