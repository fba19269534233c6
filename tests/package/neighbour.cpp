#include "neighbour.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>

void call_soon(const boost::asio::any_io_executor& executor, std::function<void()> done)
{
    auto timer = std::make_shared<boost::asio::steady_timer>(executor, std::chrono::milliseconds{1});
    timer->async_wait(
        [timer, executor, done = std::move(done)](boost::system::error_code) { boost::asio::post(executor, done); });
}
