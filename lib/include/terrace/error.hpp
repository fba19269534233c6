#pragma once

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>

#include <terrace/api.hpp>

/// Boost.Asio's namespace, as terrace's public headers name it.
namespace boost::asio {
}

namespace terrace {

namespace asio = boost::asio;

/// A value, or the error_code that says why there is none.
template <class T>
using result = boost::system::result<T>;

/// Failures of the engine that a caller should expect. They travel as boost::system::error_code.
enum class errc {
    /// The storage manager is closed or closing. Nothing was started.
    closed = 1,
    /// A deadline passed. What was started goes on in the background and keeps its buffers.
    timed_out,
    /// No adapter has this id, or it is being removed.
    unknown_adapter,
    /// close() gave up waiting for operations that an adapter did not end. They keep their buffers.
    close_timed_out,
    /// The text is not an object key in the form of object_key::to_string().
    malformed_key,
};

/// The category "terrace" of errc values.
[[nodiscard]] TERRACE_API const boost::system::error_category& error_category() noexcept;

[[nodiscard]] inline boost::system::error_code make_error_code(errc e) noexcept
{
    return {static_cast<int>(e), error_category()};
}

} // namespace terrace

template <>
struct boost::system::is_error_code_enum<terrace::errc> : std::true_type {
};
