#pragma once

#include "engine.hpp"

#include <boost/asio/any_completion_handler.hpp>
#include <memory>
#include <mutex>
#include <optional>

namespace terrace::detail {

/// A prefetch that runs on its own: what a prefetch_handle and the coroutine it stands for share.
///
/// Threads: any, but for what says otherwise.
class prefetch_task : public std::enable_shared_from_this<prefetch_task>, private prefetch_chain::observer {
public:
    using handler = asio::any_completion_handler<void(std::exception_ptr, prefetch_result)>;

    [[nodiscard]] static std::shared_ptr<prefetch_task> start(std::shared_ptr<engine> owner, prefetch_request request);
    explicit prefetch_task(const std::shared_ptr<engine>& owner)
        : owner_{owner},
          executor_{owner->context.executor},
          progress_{executor_}
    {
    }

    [[nodiscard]] const asio::any_io_executor& executor() const noexcept { return executor_; } // the engine's
    [[nodiscard]] std::optional<std::size_t> lookup_hits() const;
    [[nodiscard]] std::optional<prefetch_result> poll();
    void wait(handler done);
    static asio::awaitable<read_lease> readable(std::shared_ptr<prefetch_task> self, std::size_t positions);
    void cancel();

private:
    enum class phase { running, done, taken };

    asio::awaitable<void> run(std::shared_ptr<engine> owner, prefetch_request request); // the engine's executor
    asio::awaitable<read_lease> share_readable(std::shared_ptr<engine> owner, std::size_t positions);
    void begun(prefetch_run& run) override { run_ = &run; }
    void looked_up(std::size_t hits) override;
    void progressed() override { progress_.notify_all(); }
    void ended() override { run_ = nullptr; }
    void stop_waiting(std::uint64_t number);
    void finish(std::exception_ptr error, prefetch_result result);
    static void complete(handler done, std::exception_ptr error, prefetch_result result);

    const std::weak_ptr<engine> owner_;
    const asio::any_io_executor executor_;
    std::weak_ptr<task_scope::task> running_; // the engine's executor
    bool cancelled_ = false;                  // the engine's executor
    prefetch_run* run_ = nullptr;             // the engine's executor; while it runs
    event progress_;                          // the engine's executor

    mutable std::mutex mutex_;
    phase phase_ = phase::running;
    std::optional<std::size_t> hits_;
    prefetch_result result_;
    std::exception_ptr error_;
    std::optional<handler> waiter_; // one at most
    std::uint64_t waiters_ = 0;     // so far
};

/// What a spent or empty ticket loads.
asio::awaitable<prefetch_result> no_result();

} // namespace terrace::detail
