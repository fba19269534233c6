#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <terrace/api.hpp>
#include <terrace/error.hpp>

namespace terrace {

/// A condition variable for coroutines: `while (!condition) co_await changed.wait();`
///
/// It keeps no state: who waits after notify_all() waits for the next one. A cancelled wait() returns like a notified
/// one; if the condition still does not hold, the next co_await throws.
///
/// Lifetime  the event outlives its waiters
/// Threads   one executor, which runs one handler at a time
class TERRACE_API event { // for terrace_cuda, not for users
public:
    explicit event(const asio::any_io_executor& executor);

    asio::awaitable<void> wait();
    void notify_all() { timer_.cancel(); }

private:
    asio::steady_timer timer_; // never expires; it gets cancelled
};

} // namespace terrace
