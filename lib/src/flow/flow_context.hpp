#pragma once

#include "base/counter.hpp"
#include "base/event.hpp"
#include "base/event_log.hpp"
#include "base/latency_recorder.hpp"
#include "base/task_scope.hpp"
#include "flow/adapter_slot.hpp"
#include "l1/l1_cache.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/intrusive/list.hpp>
#include <boost/system/system_error.hpp>
#include <cstdint>
#include <memory>
#include <random>

#include <terrace/clock.hpp>
#include <terrace/config.hpp>
#include <terrace/error.hpp>

namespace terrace {

/// What the flows count; see status.hpp.
struct flow_counters {
    counter requests;
    counter keys;
    counter l1_hit_keys;
    counter l2_hit_keys;
    counter loaded_bytes;
    counter failed_loads;
    counter timed_out;
    counter joined_keys;
    counter refused;
    counter l2_locks;
    counter prefetch_in_flight;
    counter queued_objects;
    counter queued_bytes;
    counter stores_in_flight;
    counter store_objects_in_flight;
    counter targeted_objects;
    counter stored_objects;
    counter stored_bytes;
    counter failed_objects;
    counter dropped_objects;
    counter refused_objects;
    counter overtaken_objects;
    counter retried_objects;
    counter declined_objects;
    counter wanted_objects;
    counter policy_errors;
    counter demoted_objects;
    counter demoted_bytes;
    counter failed_demotions;
    counter internal_errors;
};

/// What the flows share. Its owner outlives every task: tasks are spawned with `owner`.
///
/// Threads: the executor, which runs one handler at a time, but for what says otherwise.
class flow_context {
public:
    /// seed  of `random`
    flow_context(asio::any_io_executor ex, std::shared_ptr<terrace::clock> c, std::shared_ptr<l1_cache> cache,
                 std::uint64_t seed, log_function sink)
        : executor{std::move(ex)},
          clock{std::move(c)},
          l1{std::move(cache)},
          log{executor, clock, std::move(sink)},
          random{seed},
          idle_{executor},
          tasks{executor, idle_, [this](const std::exception_ptr& error) { escaped(error); }}
    {
    }

    const asio::any_io_executor executor;        // any thread
    const std::shared_ptr<terrace::clock> clock; // any thread for now()
    const std::shared_ptr<l1_cache> l1;          // any thread
    event_log log;                               // any thread
    adapter_set adapters;                        // any thread
    flow_counters counters;                      // any thread
    latency_recorder prefetch_latency;           // any thread
    std::mt19937_64 random;
    std::weak_ptr<void> owner; // set once

private:
    event idle_; // the last request or the last task has ended

public:
    task_scope tasks; // adapter calls, and what else outlives its request

    /// Starts a task that keeps the engine alive until it has ended.
    template <class F>
    std::weak_ptr<task_scope::task> spawn(F&& start)
    {
        return tasks.spawn(owner.lock(), std::forward<F>(start));
    }

    [[nodiscard]] bool stopping() const noexcept { return stopping_; }
    /// Wakes every request, which then throws errc::closed.
    void stop()
    {
        stopping_ = true;
        for (request& r : requests_)
            r.wake_.notify_all();
    }
    void throw_if_stopping() const
    {
        if (stopping_)
            throw boost::system::system_error{errc::closed};
    }

    /// One request of a caller, from its first step on the executor to its last. stop() wakes it.
    class request : public boost::intrusive::list_base_hook<> {
    public:
        explicit request(flow_context& context) : context_{context}, wake_{context.executor}
        {
            context_.throw_if_stopping();
            context_.requests_.push_back(*this);
        }
        ~request()
        {
            context_.requests_.erase(context_.requests_.iterator_to(*this));
            if (context_.requests_.empty())
                context_.idle_.notify_all();
        }
        request(const request&) = delete;
        request& operator=(const request&) = delete;

        /// What the request waits on. It is also notified by stop(): see throw_if_stopping().
        [[nodiscard]] event& wake() noexcept { return wake_; }

    private:
        friend class flow_context;
        flow_context& context_;
        event wake_;
    };

    /// Waits until no request and no task is left, or `deadline`: false.
    asio::awaitable<bool> idle(terrace::clock::time_point deadline)
    {
        bool late = false;
        terrace::clock::alarm alarm{*clock, [this, &late] {
                                        late = true;
                                        idle_.notify_all();
                                    }};
        alarm.set(deadline);
        while (busy() && !late)
            co_await idle_.wait();
        co_return !busy();
    }

private:
    void escaped(const std::exception_ptr& error) noexcept
    {
        ++counters.internal_errors;
        log.write(log_events::internal_error, [&] {
            const std::string reason = reason_of(error);
            std::string message = "an exception escaped a task of the engine, please report it as a bug: " + reason;
            return log_text{std::move(message), {{"reason", reason}}};
        });
    }
    [[nodiscard]] bool busy() const { return !requests_.empty() || tasks.size() != 0; }

    bool stopping_ = false;
    boost::intrusive::list<request, boost::intrusive::constant_time_size<false>> requests_;
};

} // namespace terrace
