#include "http_server.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/read.hpp>

namespace example {

namespace {

using asio::ip::tcp;

constexpr std::size_t max_connections = 256;
constexpr std::uint32_t max_header_bytes = 8 << 10;
constexpr std::size_t read_bytes = 64 << 10; // from the socket at a time
constexpr std::chrono::seconds patience{30}; // for a message, and between two
constexpr std::chrono::seconds farewell{2};

/// Whether the bytes arrived, and made no sense.
bool is_of_http(const boost::system::error_code& error)
{
    return error.category() == http::make_error_code(http::error::bad_method).category();
}

} // namespace

/// A connection, as stop() sees it.
struct http_server::connection {
    connection(http_server& s, tcp::socket socket) : server{s}, stream{std::move(socket)}
    {
        server.connections_.insert(this);
    }
    ~connection() { server.connections_.erase(this); }
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;

    http_server& server;
    beast::tcp_stream stream;
    beast::flat_buffer buffer{max_header_bytes + read_bytes};
    bool answering = false;
};

http_server::http_server(const asio::any_io_executor& executor, const tcp::endpoint& address, api answers)
    : acceptor_{executor, address},
      api_{std::move(answers)},
      closed_{executor, asio::steady_timer::time_point::max()}
{
}

// [run]
asio::awaitable<void> http_server::run()
{
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    while (!stopping_) {
        auto [error, socket] = co_await acceptor_.async_accept(asio::as_tuple(asio::use_awaitable));
        if (error == asio::error::operation_aborted)
            break;   // stop()
        if (error) { // such as too many open files: others will close theirs
            asio::steady_timer pause{executor, std::chrono::milliseconds{100}};
            co_await pause.async_wait(asio::use_awaitable);
            continue;
        }
        ++open_;
        asio::co_spawn(executor, converse(std::move(socket)), [this](const std::exception_ptr&) {
            if (--open_ == 0) // how a connection ended concerns nobody but its client
                closed_.cancel();
        });
    }
    while (open_ != 0)
        co_await closed_.async_wait(asio::as_tuple(asio::use_awaitable));
}
// [/run]

void http_server::stop()
{
    stopping_ = true;
    acceptor_.close();
    for (connection* each : connections_)
        if (!each->answering)
            each->stream.cancel();
}

// [converse]
asio::awaitable<void> http_server::converse(tcp::socket socket)
{
    connection here{*this, std::move(socket)};
    bool again = true;
    bool unread = false; // something of a request that nobody wanted
    while (again && !stopping_) {
        request::header_parser head;
        head.header_limit(max_header_bytes);
        head.body_limit(boost::none); // whoever reads the body limits it
        here.stream.expires_after(patience);
        boost::system::error_code error;
        co_await http::async_read_header(here.stream, here.buffer, head,
                                         asio::redirect_error(asio::use_awaitable, error));
        if (error == http::error::end_of_stream || (error && !is_of_http(error)))
            break; // the client has gone or says nothing, or stop()

        here.answering = true;
        again = false;
        unread = true;
        reply answered{http::status::ok, ""};
        if (error) {
            answered = refuse(http::status::bad_request, "this is no HTTP request: " + error.message());
        } else if (connections_.size() > max_connections) {
            answered = refuse(http::status::service_unavailable, "too many connections");
        } else {
            const bool keep_alive = head.get().keep_alive();
            request asked{here.stream, here.buffer, head};
            answered = co_await answer(asked);
            unread = !asked.is_read();
            again = keep_alive && !unread && !stopping_;
        }
        here.stream.expires_after(patience);
        co_await send(here.stream, answered, again);
        here.answering = false;
    }
    boost::system::error_code error;
    here.stream.socket().shutdown(tcp::socket::shutdown_send, error);
    // Closing with something unread would reset the connection, and the client might lose the reply: let it end first.
    here.stream.expires_after(farewell);
    while (unread && !error) {
        here.buffer.clear();
        co_await here.stream.async_read_some(here.buffer.prepare(read_bytes),
                                             asio::redirect_error(asio::use_awaitable, error));
    }
}
// [/converse]

// [answer]
/// What becomes of everything that can go wrong. A connection that breaks is let through: nobody is left to be told.
asio::awaitable<reply> http_server::answer(request& asked)
{
    try {
        co_return co_await api_.answer(asked);
    } catch (const refusal& refused) {
        co_return refuse(refused.status, refused.what());
    } catch (const std::invalid_argument& error) { // the engine says what it expected
        co_return refuse(http::status::bad_request, error.what());
    } catch (const boost::system::system_error& error) {
        if (error.code().category() != terrace::error_category())
            throw;
        co_return refuse(http::status::service_unavailable, error.code().message());
    } catch (const std::exception& error) {
        co_return refuse(http::status::internal_server_error, error.what());
    }
}
// [/answer]

} // namespace example
