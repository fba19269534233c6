#include "prefetch_task.hpp"

#include <boost/asio/any_completion_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <utility>

namespace terrace::detail {
namespace {

std::exception_ptr aborted()
{
    return std::make_exception_ptr(boost::system::system_error{asio::error::operation_aborted});
}

} // namespace

std::shared_ptr<prefetch_task> prefetch_task::start(std::shared_ptr<engine> owner, prefetch_request request)
{
    auto task = std::make_shared<prefetch_task>(owner);
    const auto executor = owner->context.executor;
    asio::post(executor, [task, owner = std::move(owner), request = std::move(request)]() mutable {
        if (task->cancelled_) {
            task->finish(aborted(), {});
            return;
        }
        task->running_ = owner->context.spawn([&](task_scope::task&) { return task->run(owner, std::move(request)); });
        if (task->cancelled_) // by whoever saw the lookup end, before spawn() returned
            task->cancel();
    });
    return task;
}

asio::awaitable<void> prefetch_task::run(std::shared_ptr<engine> owner, prefetch_request request)
{
    auto self = shared_from_this();
    std::exception_ptr error;
    prefetch_result result;
    try {
        prefetch_chain::arrival came = owner->chain.receive(request);
        result = co_await owner->chain.prefetch(std::move(request), std::move(came), this);
    } catch (...) {
        error = std::current_exception();
    }
    finish(std::move(error), std::move(result));
    progress_.notify_all();
}

void prefetch_task::looked_up(std::size_t hits)
{
    std::scoped_lock guard{mutex_};
    hits_ = hits;
}

asio::awaitable<read_lease> prefetch_task::readable(std::shared_ptr<prefetch_task> self, std::size_t positions)
{
    auto owner = self->owner_.lock();
    if (owner == nullptr)
        throw boost::system::system_error{errc::closed};
    auto work = self->share_readable(owner, positions);
    co_return co_await engine::cross(owner, std::move(work));
}

asio::awaitable<read_lease> prefetch_task::share_readable(std::shared_ptr<engine> owner, std::size_t positions)
{
    auto self = shared_from_this();
    while (true) {
        if (run_ != nullptr && run_->pins.present().leading() >= std::min(positions, run_->size()))
            co_return owner->context.l1->share(run_->pins, positions);
        {
            std::scoped_lock guard{mutex_};
            if (phase_ == phase::done && !error_)
                co_return owner->context.l1->share(result_.lease, result_.found, positions);
            if (phase_ != phase::running)
                co_return read_lease{};
        }
        co_await progress_.wait();
    }
}

void prefetch_task::finish(std::exception_ptr error, prefetch_result result)
{
    std::optional<handler> waiter;
    {
        std::scoped_lock guard{mutex_};
        waiter.swap(waiter_);
        phase_ = waiter ? phase::taken : phase::done;
        if (!waiter) {
            error_ = std::move(error);
            result_ = std::move(result);
        }
    }
    if (waiter)
        complete(std::move(*waiter), std::move(error), std::move(result));
}

void prefetch_task::complete(handler done, std::exception_ptr error, prefetch_result result)
{
    // Never from inside the caller's own call: that would complete before it has begun to wait.
    auto executor = asio::prefer(asio::get_associated_executor(done), asio::execution::blocking.never);
    executor.execute([done = std::move(done), error = std::move(error), result = std::move(result)]() mutable {
        std::move(done)(std::move(error), std::move(result));
    });
}

std::optional<std::size_t> prefetch_task::lookup_hits() const
{
    std::scoped_lock guard{mutex_};
    return hits_;
}

std::optional<prefetch_result> prefetch_task::poll()
{
    std::scoped_lock guard{mutex_};
    if (phase_ != phase::done)
        return {};
    phase_ = phase::taken;
    if (error_)
        std::rethrow_exception(std::exchange(error_, nullptr));
    return std::move(result_);
}

void prefetch_task::wait(handler done)
{
    auto slot = asio::get_associated_cancellation_slot(done);
    std::unique_lock guard{mutex_};
    if (phase_ == phase::running && !waiter_) {
        // Counted as work of the waiter's executor, which must not run dry meanwhile.
        auto executor = asio::prefer(asio::get_associated_executor(done), asio::execution::outstanding_work.tracked);
        waiter_.emplace(asio::bind_executor(executor, std::move(done)));
        ++waiters_;
        if (slot.is_connected()) // after the handler has found its place, which sets the slot up anew
            slot.assign([weak = weak_from_this(), number = waiters_](asio::cancellation_type) {
                if (auto self = weak.lock())
                    self->stop_waiting(number);
            });
        return;
    }
    prefetch_result result;
    std::exception_ptr error;
    if (phase_ == phase::done) {
        phase_ = phase::taken;
        error = std::move(error_);
        result = std::move(result_);
    } else {
        error = aborted(); // taken already, or another waiter is there
    }
    guard.unlock();
    complete(std::move(done), std::move(error), std::move(result));
}

void prefetch_task::stop_waiting(std::uint64_t number)
{
    std::optional<handler> waiter;
    {
        std::scoped_lock guard{mutex_};
        if (number == waiters_) // else it is the signal of one who has his answer
            waiter.swap(waiter_);
    }
    if (waiter)
        complete(std::move(*waiter), aborted(), {});
}

void prefetch_task::cancel()
{
    auto owner = owner_.lock();
    if (owner == nullptr)
        return;
    {
        std::scoped_lock guard{mutex_};
        if (phase_ != phase::running)
            return;
    }
    asio::post(owner->context.executor, [self = shared_from_this()] {
        self->cancelled_ = true;
        if (auto running = self->running_.lock())
            running->cancel();
    });
}

asio::awaitable<prefetch_result> no_result()
{
    co_return prefetch_result{};
}

} // namespace terrace::detail
