#include <terrace/clock.hpp>

#include "base/assert.hpp"
#include "base/event.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace terrace {

void clock::alarm::set(time_point at)
{
    cancel();
    at_ = at;
    owner_.queue_.insert(*this);
    owner_.wake_at(owner_.next_alarm());
}

void clock::alarm::cancel() noexcept
{
    if (queue_hook.is_linked())
        owner_.queue_.erase(owner_.queue_.iterator_to(*this));
}

clock::~clock()
{
    TERRACE_ASSERT(queue_.empty()); // an alarm refers to its clock
}

asio::awaitable<void> clock::sleep_until(time_point at)
{
    auto executor = co_await asio::this_coro::executor;
    event rung{executor};
    alarm me{*this, [&rung] { rung.notify_all(); }};
    while (now() < at) {
        me.set(at);
        co_await rung.wait();
    }
}

void clock::fire_due(time_point at)
{
    while (!queue_.empty() && queue_.begin()->at_ <= at) {
        alarm& due = *queue_.begin();
        queue_.erase(queue_.begin());
        due.ring_();
    }
}

void manual_clock::advance(nanoseconds by)
{
    const time_point end = now_ + by;
    while (has_alarm() && next_alarm() <= end)
        advance_to_next_alarm();
    now_ = end;
}

bool manual_clock::advance_to_next_alarm()
{
    if (!has_alarm())
        return false;
    now_ = std::max(now_, next_alarm());
    fire_due(now_);
    return true;
}

namespace {

/// One timer for all alarms: a timer of its own for each would cost every operation microseconds.
class system_clock final : public clock, public std::enable_shared_from_this<system_clock> {
public:
    explicit system_clock(asio::any_io_executor executor) : timer_{std::move(executor)} {}

    [[nodiscard]] time_point now() const noexcept override { return std::chrono::steady_clock::now(); }

    void rest() override
    {
        if (has_alarm())
            return;
        armed_ = false;
        timer_.cancel();
    }

protected:
    void wake_at(time_point at) override
    {
        if (armed_ && armed_at_ <= at)
            return; // it wakes in time, and looks again then
        armed_ = true;
        armed_at_ = at;
        timer_.expires_at(at);
        timer_.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
            if (auto self = weak.lock(); self && !ec)
                self->on_timer();
        });
    }

private:
    void on_timer()
    {
        armed_ = false;
        fire_due(now());
        if (has_alarm())
            wake_at(next_alarm());
    }

    asio::steady_timer timer_;
    bool armed_ = false;
    time_point armed_at_{};
};

} // namespace

std::shared_ptr<clock> make_system_clock(asio::any_io_executor executor)
{
    return std::make_shared<system_clock>(std::move(executor));
}

} // namespace terrace
