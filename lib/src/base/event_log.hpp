#pragma once

#include "base/counter.hpp"
#include "base/log_events.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <terrace/clock.hpp>
#include <terrace/log.hpp>

namespace terrace {

/// What a record says: log_record::message and log_record::fields.
struct log_text {
    std::string message;
    std::vector<log_field> fields;
};

/// Brings what the engine has to say to config::log.
///
/// Threads: any. A record is handed over by a handler of its own on the executor: whoever writes may hold a lock.
class event_log {
public:
    /// sink  empty: nothing is written
    event_log(asio::any_io_executor executor, std::shared_ptr<terrace::clock> clock, log_function sink);

    /// Whether somebody listens.
    [[nodiscard]] bool wanted() const noexcept { return sink_ != nullptr; }

    /// make  answers a log_text; called at once, and only if somebody listens
    ///
    /// Nothing is thrown: a record that cannot be made or handed over is lost, and counted.
    template <class Make>
    void write(const log_event& what, Make&& make) noexcept
    {
        if (!wanted())
            return;
        try {
            hand_over(what, make());
        } catch (...) { // no memory
            ++sink_->lost;
        }
    }

    /// Records that were lost, as the function threw.
    [[nodiscard]] std::uint64_t lost() const noexcept { return sink_ != nullptr ? std::uint64_t{sink_->lost} : 0; }

private:
    void hand_over(const log_event& what, log_text text);

    struct shared_sink {
        explicit shared_sink(log_function f) : call{std::move(f)} {}
        log_function call;
        counter lost;
    };
    const asio::any_io_executor executor_;
    const std::shared_ptr<terrace::clock> clock_;
    const std::shared_ptr<shared_sink> sink_; // shared with records on their way; null: nobody listens
};

/// Lets something be said that may happen all the time: the first time at once, then every ten seconds at most.
class log_limit {
public:
    /// How often it happened since it was said last, this time included, if it is to be said now; otherwise 0.
    [[nodiscard]] std::uint64_t count(clock::time_point now, std::uint64_t times = 1) noexcept
    {
        happened_ += times;
        if (now < next_)
            return 0;
        next_ = now + std::chrono::seconds{10};
        return std::exchange(happened_, 0);
    }

private:
    clock::time_point next_{};
    std::uint64_t happened_ = 0;
};

/// What an exception says of itself.
[[nodiscard]] std::string reason_of(const std::exception_ptr& error);

} // namespace terrace
