#pragma once

#include "support/scripted_adapter.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <doctest/doctest.h>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <terrace/terrace.hpp>

namespace terrace::test {

inline constexpr std::size_t object_bytes = 4096;

/// "a b c@x": one key for each word, the last one of the tenant (cache salt) "x".
[[nodiscard]] std::vector<object_key> keys(std::string_view words);
[[nodiscard]] object_key key(std::string_view word);
/// The words of keys that came from keys().
[[nodiscard]] std::string words(const std::vector<std::string>& names);
[[nodiscard]] std::string words(const read_lease& lease);

/// The bytes that an object of this key has: different for each key.
[[nodiscard]] std::vector<std::byte> payload(const object_key& k, std::size_t bytes = object_bytes);
/// Whether the lease's object i has the bytes of its key.
[[nodiscard]] bool intact(const read_lease& lease);

/// A coroutine that runs beside the test.
template <class T>
class started {
public:
    struct outcome {
        bool done = false;
        std::exception_ptr error;
        std::optional<T> value;
        asio::cancellation_signal cancel;
    };
    explicit started(std::shared_ptr<outcome> o) : outcome_{std::move(o)} {}

    [[nodiscard]] bool done() const { return outcome_->done; }
    void cancel() { outcome_->cancel.emit(asio::cancellation_type::terminal); }
    /// What it returned; throws what it threw.
    T take()
    {
        REQUIRE(outcome_->done);
        if (outcome_->error)
            std::rethrow_exception(outcome_->error);
        return std::move(*outcome_->value);
    }
    [[nodiscard]] bool failed() const { return outcome_->done && outcome_->error; }
    [[nodiscard]] bool was_aborted() const;
    [[nodiscard]] bool failed_with(errc why) const;

private:
    std::shared_ptr<outcome> outcome_;
};

bool is_aborted(const std::exception_ptr& error);
bool is_error(const std::exception_ptr& error, const boost::system::error_code& code);

template <class T>
bool started<T>::was_aborted() const
{
    return outcome_->done && outcome_->error && is_aborted(outcome_->error);
}

template <class T>
bool started<T>::failed_with(errc why) const
{
    return outcome_->done && outcome_->error && is_error(outcome_->error, why);
}

/// The engine's own, under a breaker that never opens.
[[nodiscard]] inline adapter_options without_breaker()
{
    adapter_options options;
    options.breaker.failures = 1000;
    return options;
}

/// The engine's own, but that a store that fails is not tried again.
[[nodiscard]] inline adapter_options without_retries()
{
    adapter_options options;
    options.store_retries.attempts = 1;
    return options;
}

/// What a world starts with.
struct world_options {
    std::size_t l1_objects = 8; ///< that fit into L1
    std::size_t adapters = 1;
    std::string prefetch_policy = "default";
    std::string store_policy = "default";
    std::shared_ptr<terrace::store_policy> own_store_policy = nullptr; ///< in place of the named one
    double high_watermark = 1;                                         ///< no background eviction
    double low_watermark = 0.5;
    std::string eviction = "lru";
    std::shared_ptr<quota_table> quotas = nullptr;
    late_load_policy late_loads = late_load_policy::admit;
    prefetch_limits_config limits = {};
    adapter_options adapter = without_retries();
    std::uint64_t random_seed = 1;
    log_function log = nullptr;
};

/// One engine on one thread and virtual time, over adapters that do as the test tells them.
class world {
public:
    explicit world(world_options options = {});
    ~world();

    asio::io_context io{1};
    asio::any_io_executor caller = io.get_executor(); ///< what coroutines are started on
    std::shared_ptr<manual_clock> time = std::make_shared<manual_clock>();
    std::vector<std::shared_ptr<scripted_adapter::script>> adapters;
    scripted_adapter::script& l2; ///< the first of them
    std::vector<adapter_id> ids;
    memory_layout layout = memory_layout::bytes(object_bytes);
    storage_manager manager;

    /// Puts the objects into an adapter, with the payload of their keys.
    void put(scripted_adapter::script& into, std::string_view objects);
    void put(std::string_view objects) { put(l2, objects); }
    /// Writes the objects as a caller does, and runs until nothing is left to do at this time.
    void write(std::string_view objects);

    [[nodiscard]] prefetch_request request(std::string_view objects) { return {keys(objects), layout}; }
    asio::awaitable<prefetch_result> prefetch(std::string_view objects) { return manager.prefetch(request(objects)); }

    /// Whether all of the objects are resident; does not disturb them for long.
    [[nodiscard]] bool resident(std::string_view objects);
    [[nodiscard]] l1_status l1() const { return manager.status().l1; }
    [[nodiscard]] store_status stores() const { return manager.status().store; }

    /// Runs what is ready, until nothing is: time stands still.
    void settle();
    /// The same after moving time.
    void pass(nanoseconds duration);

    /// Starts a coroutine, which runs to where it first waits.
    template <class T>
    started<T> launch(asio::awaitable<T> work)
    {
        auto o = std::make_shared<typename started<T>::outcome>();
        asio::co_spawn(caller, std::move(work),
                       asio::bind_cancellation_slot(o->cancel.slot(), [o](std::exception_ptr error, T value) {
                           o->done = true;
                           o->error = error;
                           o->value.emplace(std::move(value));
                       }));
        return started<T>{std::move(o)};
    }
    started<bool> launch(asio::awaitable<void> work) { return launch(with_value(std::move(work))); }

    /// Starts a coroutine, runs what is ready.
    template <class T>
    started<T> start(asio::awaitable<T> work)
    {
        auto running = launch(std::move(work));
        settle();
        return running;
    }
    started<bool> start(asio::awaitable<void> work) { return start(with_value(std::move(work))); }

    /// Runs a coroutine to its end, without moving time.
    template <class T>
    T run(asio::awaitable<T> work)
    {
        return start(std::move(work)).take();
    }
    void run(asio::awaitable<void> work) { start(std::move(work)).take(); }

    /// Closes the engine, and checks that it can prove that nothing is left.
    void close();

private:
    static asio::awaitable<bool> with_value(asio::awaitable<void> work);
};

/// Nothing staged, locked or running, anywhere.
void check_nothing_left(world& w);

} // namespace terrace::test
