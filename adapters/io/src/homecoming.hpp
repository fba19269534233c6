#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <functional>
#include <utility>

#include <terrace/error.hpp>

// How what was done elsewhere comes back to the executor that asked for it.

namespace terrace::io {

/// The executor with its work counted: its context's run() does not return before send().
[[nodiscard]] inline asio::any_io_executor counted(const asio::any_io_executor& executor)
{
    return asio::prefer(executor, asio::execution::outstanding_work.tracked);
}
[[nodiscard]] inline asio::any_io_executor uncounted(const asio::any_io_executor& executor)
{
    return asio::prefer(executor, asio::execution::outstanding_work.untracked);
}

/// Posts. The count is given back over there, for once this has run, the context may be gone.
template <class Function>
void send(asio::any_io_executor home, Function f)
{
    const asio::any_io_executor there = uncounted(home);
    asio::post(there, [home = std::move(home), f = std::move(f)]() mutable { std::move(f)(); });
}

/// Calls `f` in a thread of its own, which waits in the executor's place.
asio::awaitable<void> on_a_thread(const std::function<void()>& f);

} // namespace terrace::io
