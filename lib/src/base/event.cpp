#include "base/event.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace terrace {

event::event(const asio::any_io_executor& executor) : timer_{executor, asio::steady_timer::time_point::max()} {}

asio::awaitable<void> event::wait()
{
    co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
}

} // namespace terrace
