#include "base/task_scope.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <vector>

namespace terrace {

namespace intrusive = boost::intrusive;

struct task_scope::state {
    state(asio::any_io_executor ex, event& i, std::function<void(const std::exception_ptr&)> e)
        : executor{std::move(ex)},
          idle{i},
          escaped{std::move(e)}
    {
    }

    asio::any_io_executor executor;
    event& idle;
    std::function<void(const std::exception_ptr&)> escaped;
    intrusive::list<task, intrusive::constant_time_size<false>> running; // each unlinks itself
};

namespace {

bool is_cancellation(const std::exception_ptr& error)
{
    try {
        std::rethrow_exception(error);
    } catch (const boost::system::system_error& e) {
        return e.code() == asio::error::operation_aborted;
    } catch (...) {
        return false;
    }
}

} // namespace

task_scope::task_scope(asio::any_io_executor executor, event& idle,
                       std::function<void(const std::exception_ptr&)> escaped)
    : state_{std::make_shared<state>(std::move(executor), idle, std::move(escaped))}
{
}

task_scope::~task_scope()
{
    cancel_all();
}

std::shared_ptr<task_scope::task> task_scope::make()
{
    auto t = std::make_shared<task>();
    state_->running.push_back(*t);
    return t;
}

void task_scope::launch(std::shared_ptr<void> owner, std::shared_ptr<task> t, asio::awaitable<void> work)
{
    auto slot = t->signal_.slot();
    auto ended = [s = state_, t = std::move(t), keep = std::move(owner)](std::exception_ptr error) mutable {
        t.reset();
        if (error && !is_cancellation(error))
            s->escaped(error);
        if (s->running.empty())
            s->idle.notify_all();
    };
    asio::co_spawn(state_->executor, std::move(work), asio::bind_cancellation_slot(slot, std::move(ended)));
}

std::size_t task_scope::size() const noexcept
{
    return state_->running.size();
}

void task_scope::cancel_all()
{
    std::vector<std::shared_ptr<task>> all; // tasks may end, and leave the list, while they are told to
    for (task& t : state_->running)
        all.push_back(t.shared_from_this());
    for (const auto& t : all)
        t->cancel();
}

} // namespace terrace
