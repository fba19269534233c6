#include "message.hpp"

#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/span_body.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <nlohmann/json.hpp>

namespace example {

namespace {

constexpr unsigned http_1_1 = 11;

template <class Body>
asio::awaitable<void> write(beast::tcp_stream& stream, http::response<Body>& response, const reply& answer,
                            bool keep_alive)
{
    response.result(answer.status);
    response.version(http_1_1);
    response.set(http::field::content_type, answer.content_type);
    response.keep_alive(keep_alive);
    response.prepare_payload();
    co_await http::async_write(stream, response, asio::use_awaitable);
}

} // namespace

std::uint64_t request::length(std::uint64_t max_bytes) const
{
    const auto length = head_.content_length();
    if (!length)
        throw refusal{http::status::length_required, "the request has no Content-Length"};
    if (*length > max_bytes)
        throw refusal{http::status::payload_too_large, "the body has " + std::to_string(*length) +
                                                           " bytes; expected at most " + std::to_string(max_bytes)};
    return *length;
}

/// curl asks before it sends a large body: what is refused is then never sent.
asio::awaitable<void> request::tell_to_go_on()
{
    if (head_.get()[http::field::expect] != "100-continue")
        co_return;
    http::response<http::empty_body> go_on{http::status::continue_, http_1_1};
    co_await http::async_write(stream_, go_on, asio::use_awaitable);
}

// [read-into]
asio::awaitable<void> request::read_into(std::span<std::byte> to)
{
    if (const std::uint64_t bytes = length(to.size()); bytes != to.size())
        throw refusal{http::status::bad_request, "the body has " + std::to_string(bytes) + " bytes; expected " +
                                                     std::to_string(to.size()) + ", as every chunk has"};
    co_await tell_to_go_on();
    http::request_parser<http::span_body<std::byte>> parser{std::move(head_)};
    parser.get().body() = {to.data(), to.size()};
    co_await http::async_read(stream_, buffer_, parser, asio::use_awaitable);
    body_read_ = true;
}
// [/read-into]

asio::awaitable<std::string> request::read_text(std::uint64_t max_bytes)
{
    (void)length(max_bytes);
    co_await tell_to_go_on();
    http::request_parser<http::string_body> parser{std::move(head_)};
    co_await http::async_read(stream_, buffer_, parser, asio::use_awaitable);
    body_read_ = true;
    co_return std::move(parser.get().body());
}

reply refuse(http::status status, std::string_view why)
{
    nlohmann::json error;
    error["error"] = why;
    // What came from the client need not be UTF-8; JSON is.
    return {status, error.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"};
}

// [send]
asio::awaitable<void> send(beast::tcp_stream& stream, const reply& answer, bool keep_alive)
{
    if (answer.object.empty()) {
        http::response<http::string_body> response;
        response.body() = answer.text;
        co_await write(stream, response, answer, keep_alive);
    } else {
        const auto bytes = answer.object.bytes(0); // they neither move nor change while the lease lives
        http::response<http::span_body<const std::byte>> response;
        response.body() = {bytes.data(), bytes.size()};
        co_await write(stream, response, answer, keep_alive);
    }
}
// [/send]

} // namespace example
