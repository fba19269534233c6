#include "homecoming.hpp"

#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <thread>

namespace terrace::io {

asio::awaitable<void> on_a_thread(const std::function<void()>& f)
{
    const asio::any_io_executor here = co_await asio::this_coro::executor;
    std::jthread thread;
    const auto begin = [&](auto done) {
        thread = std::jthread{[&f, home = counted(here), reply = std::move(done)]() mutable {
            f();
            send(std::move(home), std::move(reply));
        }};
    };
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(begin, asio::use_awaitable);
}

} // namespace terrace::io
