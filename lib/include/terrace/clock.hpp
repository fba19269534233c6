#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/intrusive/set.hpp>
#include <boost/intrusive/set_hook.hpp>
#include <chrono>
#include <functional>
#include <memory>

#include <terrace/api.hpp>
#include <terrace/error.hpp>

namespace terrace {

using std::chrono::nanoseconds;

/// Where the engine and its adapters get the time from, so that tests and simulations can own it.
///
/// Time points are std::chrono::steady_clock's, whether or not that clock made them.
/// Threads: now() from any thread; alarms and sleeping on the executor that the engine runs on.
class TERRACE_API clock {
public:
    using time_point = std::chrono::steady_clock::time_point;

    /// Calls a function once, at a time. Setting it again replaces the time; destroying it cancels.
    class alarm {
    public:
        /// `ring` runs on the clock's executor; it may set or destroy the alarm.
        alarm(clock& owner, std::function<void()> ring) : owner_{owner}, ring_{std::move(ring)} {}
        ~alarm() { cancel(); }
        alarm(const alarm&) = delete;
        alarm& operator=(const alarm&) = delete;

        void set(time_point at);
        void cancel() noexcept;

        struct earlier {
            bool operator()(const alarm& a, const alarm& b) const noexcept { return a.at_ < b.at_; }
        };

    private:
        friend class clock;
        clock& owner_;
        std::function<void()> ring_;
        time_point at_{};

    public:
        boost::intrusive::set_member_hook<> queue_hook; ///< membership in the clock's queue
    };

    clock() = default;
    clock(const clock&) = delete;
    clock& operator=(const clock&) = delete;
    virtual ~clock();

    [[nodiscard]] virtual time_point now() const noexcept = 0;

    /// Completes at `at` or later; at once if that is past.
    /// Cancelled: throws operation_aborted.  Lifetime: the clock outlives the call.
    asio::awaitable<void> sleep_until(time_point at);
    /// Longer than a time_point can say is for ever.
    asio::awaitable<void> sleep_for(nanoseconds duration)
    {
        const time_point from = now();
        return sleep_until(duration < time_point::max() - from ? from + duration : time_point::max());
    }

    /// No alarm is set, and none will be for long: do not keep the executor waiting for one.
    virtual void rest() {}

protected:
    /// The earliest alarm is now due at `at`; fire_due() must be called then. Called after each change.
    virtual void wake_at(time_point at) = 0;
    /// Rings what is due at `at`, in order of time.
    void fire_due(time_point at);
    [[nodiscard]] bool has_alarm() const noexcept { return !queue_.empty(); }
    [[nodiscard]] time_point next_alarm() const noexcept { return queue_.begin()->at_; }

private:
    using queue = boost::intrusive::multiset<
        alarm, boost::intrusive::member_hook<alarm, boost::intrusive::set_member_hook<>, &alarm::queue_hook>,
        boost::intrusive::compare<alarm::earlier>, boost::intrusive::constant_time_size<false>>;
    queue queue_;
};

/// The machine's steady clock; alarms run on `executor`, on one timer however many there are.
[[nodiscard]] TERRACE_API std::shared_ptr<clock> make_system_clock(asio::any_io_executor executor);

/// A clock that stands still until it is told to move: for tests and simulations.
class TERRACE_API manual_clock final : public clock {
public:
    [[nodiscard]] time_point now() const noexcept override { return now_; }

    /// Moves time forward and rings the alarms that become due, in order, each at its own time.
    void advance(nanoseconds by);

    /// Moves to the next alarm and rings it; false if there is none.
    bool advance_to_next_alarm();

protected:
    void wake_at(time_point) override {}

private:
    time_point now_{std::chrono::hours{1}};
};

} // namespace terrace
