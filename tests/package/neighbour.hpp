#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>

/// Calls `done` on the executor after a timer of a millisecond.
void call_soon(const boost::asio::any_io_executor& executor, std::function<void()> done);
