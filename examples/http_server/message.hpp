#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/verb.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include <terrace/read_lease.hpp>

namespace example {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

/// Why a request is refused: thrown where that is found out, and sent as JSON.
class refusal : public std::runtime_error {
public:
    refusal(http::status s, const std::string& why) : std::runtime_error{why}, status{s} {}
    http::status status;
};

/// A request of which the header has been read. Whoever answers it reads the body, if it wants one.
///
/// Lifetime  what it was made from outlives it
class request {
public:
    using header_parser = http::request_parser<http::empty_body>;
    request(beast::tcp_stream& stream, beast::flat_buffer& buffer, header_parser& head)
        : stream_{stream},
          buffer_{buffer},
          method_{head.get().method()},
          target_{head.get().target()},
          head_{head}
    {
    }

    [[nodiscard]] http::verb method() const noexcept { return method_; }
    [[nodiscard]] std::string_view target() const noexcept { return target_; }

    /// Reads a body of exactly to.size() bytes to where it is to be.
    /// Throws refusal for any other length, and system_error if the connection breaks.
    asio::awaitable<void> read_into(std::span<std::byte> to);
    /// Reads a body of max_bytes at most. Throws as read_into() does.
    asio::awaitable<std::string> read_text(std::uint64_t max_bytes);

    /// Whether nothing of this request is left on the connection, so that another can follow it.
    [[nodiscard]] bool is_read() const { return body_read_ || head_.is_done(); }

private:
    /// The body's length, which is known before any of it is read: there is no other limit on what a client can send.
    std::uint64_t length(std::uint64_t max_bytes) const;
    asio::awaitable<void> tell_to_go_on();

    beast::tcp_stream& stream_;
    beast::flat_buffer& buffer_;
    http::verb method_;
    std::string target_;
    header_parser& head_;
    bool body_read_ = false;
};

/// What a request is answered with: JSON, another text, or an object straight out of L1.
class reply {
public:
    reply(http::status s, std::string json) : status{s}, text{std::move(json)} {}
    reply(std::string_view type, std::string plain) : content_type{type}, text{std::move(plain)} {}
    explicit reply(terrace::read_lease lease) : content_type{"application/octet-stream"}, object{std::move(lease)} {}

    http::status status = http::status::ok;
    std::string content_type = "application/json";
    std::string text;
    terrace::read_lease object; ///< if it holds one, its bytes are the body: the lease goes when they are sent
};

[[nodiscard]] reply refuse(http::status status, std::string_view why);

asio::awaitable<void> send(beast::tcp_stream& stream, const reply& answer, bool keep_alive);

} // namespace example
