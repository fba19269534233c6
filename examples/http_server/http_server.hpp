#pragma once

#include "api.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <set>

namespace example {

/// HTTP/1.1 over TCP, one coroutine for each connection.
///
/// Threads   all of it on one executor that runs one handler at a time; the engine's, so that nothing is crossed
/// Lifetime  outlives run(), and whatever the api refers to outlives the server
class http_server {
public:
    /// Listens from now on. Throws system_error if the address cannot be had.
    http_server(const asio::any_io_executor& executor, const asio::ip::tcp::endpoint& address, api answers);

    [[nodiscard]] asio::ip::tcp::endpoint address() const { return acceptor_.local_endpoint(); }

    /// Serves until stop(); then finishes the requests that are being answered, and returns when no connection is left.
    asio::awaitable<void> run();
    /// Accepts no more, and closes the connections that no request is being answered on.
    void stop();

private:
    struct connection;

    asio::awaitable<void> converse(asio::ip::tcp::socket socket);
    asio::awaitable<reply> answer(request& asked);

    asio::ip::tcp::acceptor acceptor_;
    api api_;
    bool stopping_ = false;
    std::set<connection*> connections_;
    std::size_t open_ = 0;      // connections, from their acceptance to the end of their coroutine
    asio::steady_timer closed_; // never expires: cancelled when the last one has ended
};

} // namespace example
