#pragma once

#include "base/counter.hpp"
#include "base/event.hpp"
#include "base/task_scope.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <terrace/clock.hpp>
#include <terrace/config.hpp>
#include <terrace/l2_adapter.hpp>
#include <terrace/status.hpp>

namespace terrace {

/// One adapter in the engine: the calls that run on it, and what is counted of them.
///
/// Threads: the engine's executor; status() from any.
class adapter_slot {
public:
    adapter_slot(const asio::any_io_executor& executor, adapter_id id, std::unique_ptr<l2_adapter> adapter,
                 adapter_options options)
        : id_{id}, options_{options}, adapter_{std::move(adapter)}, changed_{executor}
    {
    }

    [[nodiscard]] adapter_id id() const noexcept { return id_; }
    [[nodiscard]] const adapter_options& options() const noexcept { return options_; }
    [[nodiscard]] l2_adapter& adapter() const noexcept { return *adapter_; }
    [[nodiscard]] adapter_entry status() const;

    /// Waits until no call is in flight.
    asio::awaitable<void> idle();

    counter lookups;
    counter loads;
    counter stores;
    counter unlocks;
    counter errors;
    counter timeouts;
    counter in_flight;

private:
    friend class adapter_call;
    adapter_id id_;
    adapter_options options_;
    std::unique_ptr<l2_adapter> adapter_;
    event changed_; // in_flight became 0
};

using adapter_list = std::vector<std::shared_ptr<adapter_slot>>;

/// The adapters in order of index. A list once taken does not change: requests that run keep theirs.
///
/// Threads: any.
class adapter_set {
public:
    [[nodiscard]] std::shared_ptr<const adapter_list> snapshot() const;
    void add(std::shared_ptr<adapter_slot> slot);
    /// Null if there is none of this id.
    std::shared_ptr<adapter_slot> take(adapter_id id);

private:
    mutable std::mutex mutex_;
    std::shared_ptr<const adapter_list> list_ = std::make_shared<const adapter_list>();
};

/// One call of an adapter while it runs: counted, and asked to stop when its time is up. It lives in the frame of the
/// task that makes the call, and so goes on for as long as the adapter does, whoever may have stopped waiting.
class adapter_call {
public:
    /// on_timeout  tells whoever waits that no answer will come in time
    adapter_call(std::shared_ptr<adapter_slot> slot, counter adapter_slot::*kind, clock& clock,
                 std::chrono::milliseconds timeout, task_scope::task& me, std::function<void()> on_timeout = {});
    ~adapter_call();

    /// Counts what was thrown, unless it is that the call was asked to stop. Called in a catch block.
    void count_exception() noexcept;

private:
    std::shared_ptr<adapter_slot> slot_;
    task_scope::task& me_;
    std::function<void()> on_timeout_;
    clock::alarm alarm_;
};

} // namespace terrace
