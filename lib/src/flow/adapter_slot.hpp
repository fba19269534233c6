#pragma once

#include "base/counter.hpp"
#include "base/event.hpp"
#include "base/latency_recorder.hpp"
#include "base/task_scope.hpp"
#include "flow/adapter_journal.hpp"
#include "flow/breaker.hpp"
#include "flow/key_changes.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
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
    /// The log outlives the slot.
    adapter_slot(const asio::any_io_executor& executor, event_log& log, adapter_id id,
                 std::unique_ptr<l2_adapter> adapter, adapter_options options)
        : lookup_breaker{options.breaker},
          load_breaker{options.breaker},
          store_breaker{options.breaker},
          journal{log, id, *adapter},
          id_{id},
          options_{options},
          adapter_{std::move(adapter)},
          demotes_{dynamic_cast<demotion_source*>(adapter_.get())},
          changed_{executor},
          store_turn_{executor},
          changes{store_turn_}
    {
    }

    [[nodiscard]] adapter_id id() const noexcept { return id_; }
    [[nodiscard]] const adapter_options& options() const noexcept { return options_; }
    [[nodiscard]] l2_adapter& adapter() const noexcept { return *adapter_; }
    /// Tells the adapter where its loads and stores will lie, if it does not know yet.
    void know(std::span<std::byte> l1);
    /// The same adapter; null if it does not offer this.
    [[nodiscard]] demotion_source* demotes() const noexcept { return demotes_; }
    [[nodiscard]] adapter_entry status() const;

    /// Of lookups, loads and stores; unlocks have that of the lookups that they follow, erases none.
    [[nodiscard]] const breaker& breaker_of(adapter_operation what) const noexcept;

    /// Has the log hear of damaged objects, if there are any that it has not heard of.
    void look_for_damage(clock::time_point now) noexcept;

    /// Waits until no call is in flight.
    asio::awaitable<void> idle();

    /// What the adapter's queue of stores waits on: a load, a store or a move has ended, or the queue has changed.
    [[nodiscard]] event& store_turn() noexcept { return store_turn_; }

    /// One for each kind of call (an unlock follows its lookup): what only loads cannot do must not be hidden by
    /// lookups that succeed.
    breaker lookup_breaker;
    breaker load_breaker;
    breaker store_breaker;

    adapter_journal journal;

    /// It is being removed: what would go on by itself starts nothing more on it.
    bool leaving = false;
    /// close() of the adapter has been called: nothing may follow it.
    bool closed = false;
    /// It has ended.
    bool gone = false;

    counter lookups;
    counter loads;
    counter stores;
    counter unlocks;
    counter erases;
    counter errors;
    counter timeouts;
    counter in_flight;
    latency_recorder lookup_latency;
    latency_recorder load_latency;
    latency_recorder store_latency;
    std::uint32_t loads_in_flight = 0; // that have not missed their timeout

private:
    friend class adapter_call;
    adapter_id id_;
    adapter_options options_;
    std::unique_ptr<l2_adapter> adapter_;
    demotion_source* const demotes_;
    std::size_t known_bytes_ = 0; // of L1
    event changed_;               // in_flight became 0
    event store_turn_;

public:
    key_changes changes; ///< whose end is a turn for stores
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
    /// Why a call failed whose bitmap has another size than its batch.
    static constexpr std::string_view answer_to_another_question = "an answer of another size than the question";

    /// on_timeout  tells whoever waits that no answer will come in time
    adapter_call(std::shared_ptr<adapter_slot> slot, counter adapter_slot::*kind, breaker::permit permit, clock& clock,
                 std::chrono::milliseconds timeout, task_scope::task& me, std::function<void()> on_timeout = {});
    ~adapter_call();

    // How the call went: the breaker hears the first that is said, the end of its time included.
    void succeeded() noexcept;
    /// reason  for the log
    void failed(std::string_view reason) noexcept;
    /// In a catch block: it failed, unless what was thrown is that it was asked to stop.
    void caught() noexcept;

    /// Makes a call of the adapter's on so many items, awaits it and says how it went. The answer; no bit is set if it
    /// threw, be it before it returned an awaitable, or answered another question.
    using maker = std::function<asio::awaitable<bitmap>()>;
    asio::awaitable<bitmap> answer(maker call, std::size_t items);

private:
    void time_is_up();
    void note_latency() noexcept;
    void note_failure(breaker_change change, std::string_view reason) noexcept;
    void end_load() noexcept;

    std::shared_ptr<adapter_slot> slot_;
    const adapter_operation what_;
    bool load_; // it is one, and counts as such
    const std::chrono::milliseconds timeout_;
    const clock::time_point started_;
    task_scope::task& me_;
    std::function<void()> on_timeout_;
    breaker::permit permit_;
    clock& clock_;
    clock::alarm alarm_;
};

} // namespace terrace
