#include "fault_control.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <fmt/format.h>
#include <stdexcept>

namespace terrace {
namespace {

/// The calls that an effect can concern.
fault_calls concerned(fault_effect effect) noexcept
{
    constexpr fault_calls answered_by_bits =
        fault_calls::lookup | fault_calls::load | fault_calls::store | fault_calls::erase;
    switch (effect) {
    case fault_effect::fail_items:
    case fault_effect::drop_items:
        return answered_by_bits | fault_calls::unlock;
    case fault_effect::corrupt_items:
        return fault_calls::load | fault_calls::store;
    case fault_effect::wrong_size:
        return answered_by_bits;
    default:
        return fault_calls::all;
    }
}

void check_probability(std::string_view name, double value)
{
    if (!(value >= 0 && value <= 1))
        throw std::invalid_argument(fmt::format("fault rule: {} is {}, expected 0 to 1", name, value));
}

void check(const fault_rule& rule)
{
    check_probability("probability", rule.probability);
    check_probability("item_probability", rule.item_probability);
    if (rule.every == 0)
        throw std::invalid_argument("fault rule: every is 0, expected 1 or more");
    if (rule.delay < nanoseconds{0})
        throw std::invalid_argument(fmt::format("fault rule: delay is {} ns, expected 0 or more", rule.delay.count()));
    if (rule.from > rule.until)
        throw std::invalid_argument(fmt::format("fault rule: from is {} ns, after until, which is {} ns",
                                                rule.from.count(), rule.until.count()));
    if ((rule.calls & concerned(rule.effect)) == fault_calls::none)
        throw std::invalid_argument(fmt::format("fault rule: effect {} has nothing to do with calls {:#x}",
                                                static_cast<unsigned>(rule.effect), static_cast<unsigned>(rule.calls)));
}

} // namespace

/// A rule at work.
struct fault_control::impl::armed_rule : fault_rule {
    armed_rule(const fault_rule& rule, rule_id number, std::uint64_t seed, terrace::clock::time_point now)
        : fault_rule{rule},
          id{number},
          added{now},
          random{seed + number * 0x9e3779b97f4a7c15U}
    {
        calls = calls & concerned(effect);
    }

    /// The standard's distributions differ from library to library; this one does not.
    bool draw(double p) { return p >= 1 || (p > 0 && static_cast<double>(random() >> 11U) * 0x1p-53 < p); }

    bitmap draw_items(std::size_t items)
    {
        bitmap drawn{items};
        for (std::size_t i = 0; i < items; ++i)
            drawn.set(i, draw(item_probability));
        return drawn;
    }

    /// Whether it hits a call that it is for.
    bool hits(terrace::clock::time_point now)
    {
        const nanoseconds age = now - added;
        if (age < from || age >= until)
            return false;
        return ++seen % every == 0 && draw(probability);
    }

    rule_id id;
    terrace::clock::time_point added;
    std::uint64_t seen = 0;
    std::mt19937_64 random;
};

/// A call that hangs. A timer, because the executor's context destroys what waits for it when it goes.
struct fault_control::impl::waiter {
    explicit waiter(const asio::any_io_executor& executor) : timer{executor, asio::steady_timer::time_point::max()} {}
    asio::steady_timer timer; // never expires; it gets cancelled
    bool released = false;    // on the executor
};

/// The waiter's place among those that release() lets go, for as long as its coroutine lives.
class fault_control::impl::place_in_line {
public:
    place_in_line(impl& owner, std::shared_ptr<waiter> me) : owner_{owner}
    {
        const std::lock_guard lock{owner_.mutex_};
        at_ = owner_.line_.insert(owner_.line_.end(), std::move(me));
        ++owner_.counts_.hangs;
    }
    place_in_line(const place_in_line&) = delete;
    place_in_line& operator=(const place_in_line&) = delete;
    ~place_in_line()
    {
        const std::lock_guard lock{owner_.mutex_};
        owner_.line_.erase(at_);
    }

private:
    impl& owner_;
    std::list<std::shared_ptr<waiter>>::iterator at_;
};

fault_control::impl::impl(std::uint64_t seed, std::shared_ptr<terrace::clock> clock)
    : seed_{seed},
      clock_{std::move(clock)}
{
}

fault_control::impl::~impl() = default;

// ---- rules ----

fault_control::rule_id fault_control::impl::add(const fault_rule& rule)
{
    check(rule);
    const std::lock_guard lock{mutex_};
    rules_.emplace_back(rule, ++last_rule_, seed_, now());
    return last_rule_;
}

void fault_control::impl::remove(rule_id id)
{
    const std::lock_guard lock{mutex_};
    rules_.remove_if([id](const armed_rule& rule) { return rule.id == id; });
}

void fault_control::impl::clear()
{
    const std::lock_guard lock{mutex_};
    rules_.clear();
}

fault_plan fault_control::impl::plan(fault_calls call, std::size_t items)
{
    fault_plan made{items};
    const std::lock_guard lock{mutex_};
    ++counts_.calls;
    if (death_) {
        ++counts_.refused;
        refuse();
    }
    const auto at = now();
    for (armed_rule& rule : rules_)
        if ((rule.calls & call) != fault_calls::none && rule.hits(at))
            apply(rule, made);
    if (death_)
        refuse();
    made.dropped -= made.failed;
    counts_.failed_items += made.failed.count();
    counts_.dropped_items += made.dropped.count();
    return made;
}

void fault_control::impl::apply(armed_rule& rule, fault_plan& plan)
{
    switch (rule.effect) {
    case fault_effect::delay:
        plan.delay += rule.delay;
        ++counts_.delays;
        break;
    case fault_effect::throw_error:
        plan.error = rule.error;
        ++counts_.errors;
        break;
    case fault_effect::lose_answer:
        plan.lost = rule.error;
        ++counts_.lost_answers;
        break;
    case fault_effect::hang:
        if (plan.hang == fault_plan::waiting::none)
            plan.hang = fault_plan::waiting::open;
        break;
    case fault_effect::hang_deaf:
        plan.hang = fault_plan::waiting::deaf;
        break;
    case fault_effect::fail_items:
        plan.failed |= rule.draw_items(plan.failed.size());
        break;
    case fault_effect::drop_items:
        plan.dropped |= rule.draw_items(plan.dropped.size());
        break;
    case fault_effect::corrupt_items:
        plan.corrupted |= rule.draw_items(plan.corrupted.size());
        plan.noise = rule.random();
        break;
    case fault_effect::wrong_size:
        plan.wrong_size = true;
        ++counts_.wrong_sizes;
        break;
    case fault_effect::die:
        death_ = rule.error;
        ++counts_.deaths;
        break;
    }
}

void fault_control::impl::count_corrupted(std::size_t items)
{
    const std::lock_guard lock{mutex_};
    counts_.corrupted_items += items;
}

// ---- death ----

void fault_control::impl::refuse() const
{
    throw boost::system::system_error(*death_, "fault adapter: dead");
}

void fault_control::impl::kill(boost::system::error_code error)
{
    const std::lock_guard lock{mutex_};
    counts_.deaths += death_ ? 0 : 1;
    death_ = error;
}

void fault_control::impl::revive()
{
    const std::lock_guard lock{mutex_};
    death_.reset();
}

std::optional<boost::system::error_code> fault_control::impl::death() const
{
    const std::lock_guard lock{mutex_};
    return death_;
}

fault_counts fault_control::impl::counts() const
{
    const std::lock_guard lock{mutex_};
    fault_counts now = counts_;
    now.hanging = line_.size();
    return now;
}

// ---- time ----

terrace::clock::time_point fault_control::impl::now() const noexcept
{
    return clock_ != nullptr ? clock_->now() : std::chrono::steady_clock::now();
}

asio::awaitable<void> fault_control::impl::sleep(nanoseconds duration)
{
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    std::shared_ptr<terrace::clock> clock = clock_;
    if (clock == nullptr)
        clock = make_system_clock(executor);
    co_await clock->sleep_for(duration);
}

asio::awaitable<void> fault_control::impl::hang(fault_plan::waiting how)
{
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    const auto me = std::make_shared<waiter>(executor);
    const place_in_line place{*this, me};
    // Cancelled and not released, the next turn's co_await throws. What is deaf has no slot to be cancelled by, and
    // turns once.
    while (!me->released) {
        if (how == fault_plan::waiting::deaf) {
            const asio::cancellation_slot none;
            co_await me->timer.async_wait(asio::bind_cancellation_slot(none, asio::as_tuple(asio::use_awaitable)));
        } else {
            co_await me->timer.async_wait(asio::as_tuple(asio::use_awaitable));
        }
    }
}

void fault_control::impl::release()
{
    const std::lock_guard lock{mutex_}; // a waiter's coroutine, and so its executor, lives while it is in line
    for (const auto& each : line_)
        asio::post(each->timer.get_executor(), [weak = std::weak_ptr{each}] {
            if (const auto waiting = weak.lock()) {
                waiting->released = true;
                waiting->timer.cancel();
            }
        });
}

// ---- the door ----

fault_control::fault_control(std::uint64_t seed, std::shared_ptr<terrace::clock> clock)
    : impl_{std::make_unique<impl>(seed, std::move(clock))}
{
}

fault_control::~fault_control() = default;

fault_control::rule_id fault_control::add(const fault_rule& rule)
{
    return impl_->add(rule);
}

void fault_control::remove(rule_id id)
{
    impl_->remove(id);
}

void fault_control::clear()
{
    impl_->clear();
}

void fault_control::release()
{
    impl_->release();
}

void fault_control::kill(boost::system::error_code error)
{
    impl_->kill(error);
}

void fault_control::revive()
{
    impl_->revive();
}

bool fault_control::dead() const
{
    return impl_->death().has_value();
}

fault_counts fault_control::counts() const
{
    return impl_->counts();
}

} // namespace terrace
