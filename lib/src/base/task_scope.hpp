#pragma once

#include "base/event.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <utility>

namespace terrace {

/// The coroutines that nobody awaits: the scope knows them, can stop them, and is joined before its end.
///
/// Lifetime  destroying a scope asks its tasks to stop; what they refer to must live until they have
/// Threads   the executor, which runs one handler at a time
class task_scope {
public:
    /// One running coroutine, as seen from inside it and from whoever may want to stop it. It outlives its frames.
    class task : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>,
                 public std::enable_shared_from_this<task> {
    public:
        /// Asks the coroutine to stop.
        void cancel()
        {
            const auto self = shared_from_this(); // it may end meanwhile
            signal_.emit(asio::cancellation_type::terminal);
        }

    private:
        friend class task_scope;
        asio::cancellation_signal signal_;
    };

    /// idle     notified whenever the last task has ended; outlives every task
    /// escaped  hears of exceptions that escape a task; cancellation does not count as one; what it refers to outlives
    ///          every task
    task_scope(asio::any_io_executor executor, event& idle, std::function<void(const std::exception_ptr&)> escaped);
    ~task_scope();
    task_scope(const task_scope&) = delete;
    task_scope& operator=(const task_scope&) = delete;

    /// Runs the coroutine that start(task&) returns, up to its first suspension, at once. `owner` lives until it ends.
    template <class F>
    std::weak_ptr<task> spawn(std::shared_ptr<void> owner, F&& start)
    {
        auto t = make();
        std::weak_ptr<task> running{t};
        launch(std::move(owner), t, std::forward<F>(start)(*t));
        return running;
    }

    [[nodiscard]] std::size_t size() const noexcept; ///< tasks that have not ended

    /// Asks every task to stop.
    void cancel_all();

private:
    struct state;
    [[nodiscard]] std::shared_ptr<task> make();
    void launch(std::shared_ptr<void> owner, std::shared_ptr<task> t, asio::awaitable<void> work);

    std::shared_ptr<state> state_;
};

} // namespace terrace
