#pragma once

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/bitmap.hpp>
#include <terrace/clock.hpp>
#include <terrace/key_group.hpp>
#include <terrace/memory_layout.hpp>
#include <terrace/object_key.hpp>
#include <terrace/read_lease.hpp>

namespace terrace {

/// Whether the objects of a prefetch are locked for the caller.
enum class lock_mode : std::uint8_t {
    yes, ///< the result's lease holds them
    no,  ///< warm: they are brought into L1, retained, unlocked and evictable; the lease is empty
};

/// What a caller wants in L1.
///
/// A class with constructors and setters, so that `co_await manager.prefetch({keys, layout})` is right under gcc 12.
class prefetch_request {
public:
    static constexpr std::uint32_t max_readers = 128;

    /// keys    one for each chunk, in order of the prompt: the chain's head first; no key twice, none empty
    /// layout  of every object; not empty
    prefetch_request(std::vector<object_key> keys, memory_layout layout)
    {
        groups_.emplace_back(std::move(keys), std::move(layout));
    }
    /// Several object groups over the same chunks; see key_group. A chunk counts when all it needs is there.
    explicit prefetch_request(std::vector<key_group> groups) : groups_{std::move(groups)} {}

    /// How many consumers will each read, and release, the same objects: 1 to 128.
    prefetch_request& set_readers(std::uint32_t n) { return readers_ = n, *this; }
    prefetch_request& set_trim(trim_rule rule) { return trim_ = rule, *this; }
    prefetch_request& set_lock(lock_mode mode) { return lock_ = mode, *this; }
    /// When to answer with what is usable by then. In the future of the engine's clock; none: the adapters' own
    /// deadlines only.
    prefetch_request& set_deadline(std::optional<clock::time_point> at) { return deadline_ = at, *this; }
    /// Who goes first when requests wait for admission: the higher.
    prefetch_request& set_priority(int priority) { return priority_ = priority, *this; }

    [[nodiscard]] const std::vector<key_group>& groups() const& noexcept { return groups_; }
    [[nodiscard]] std::vector<key_group> groups() && noexcept { return std::move(groups_); }
    [[nodiscard]] std::uint32_t readers() const noexcept { return readers_; }
    [[nodiscard]] trim_rule trim() const noexcept { return trim_; }
    [[nodiscard]] lock_mode lock() const noexcept { return lock_; }
    [[nodiscard]] std::optional<clock::time_point> deadline() const noexcept { return deadline_; }
    [[nodiscard]] int priority() const noexcept { return priority_; }

private:
    std::vector<key_group> groups_;
    std::uint32_t readers_ = 1;
    trim_rule trim_ = trim_rule::prefix;
    lock_mode lock_ = lock_mode::yes;
    std::optional<clock::time_point> deadline_;
    int priority_ = 0;
};

/// What a prefetch brought.
class prefetch_result {
public:
    prefetch_result() = default;

    read_lease lease;            ///< the usable objects, in order of the request; empty under lock_mode::no
    bitmap found;                ///< bit i: key i of the request is usable; groups one after the other
    std::size_t prefix_hits = 0; ///< leading chunks that are usable
    std::size_t l1_hits = 0;     ///< usable keys that were in L1 already
    std::size_t l2_hits = 0;     ///< usable keys that were loaded
    bool timed_out = false;      ///< the deadline passed before all that was found had been loaded
    nanoseconds latency{0};      ///< from the call to this answer, by the engine's clock
};

namespace detail {
class engine;
class lookup_state;
class prefetch_task;
} // namespace detail

/// A prefetch that runs on its own. Dropping the handle cancels it and releases what it brought. A handle that was
/// moved from is empty: it has nothing to poll, and waiting for it throws std::invalid_argument.
///
/// Threads: every member may be called from any thread.
class TERRACE_API prefetch_handle {
public:
    prefetch_handle() noexcept;
    prefetch_handle(prefetch_handle&&) noexcept;
    prefetch_handle& operator=(prefetch_handle&&) noexcept;
    ~prefetch_handle();

    /// The leading chunks that can be hit, as soon as the lookup has ended and before they are loaded; nothing until
    /// then.
    [[nodiscard]] std::optional<std::size_t> lookup_hits() const;

    /// Waits until the first `positions` keys are readable, or no more will be, and locks those of them that are, once,
    /// for the caller alone: so that a consumer can copy the head while the tail still loads. It takes nothing from
    /// the result. Empty after the result has been taken.
    /// Cancelled: operation_aborted; the prefetch goes on.  Lifetime: the handle outlives the call.
    asio::awaitable<read_lease> readable(std::size_t positions);

    /// The result, once it is there: moved out, by whichever of poll() and wait() asks first; nothing until then, and
    /// nothing ever after. Throws what the prefetch threw.
    [[nodiscard]] std::optional<prefetch_result> poll();

    /// The same, awaited; one waiter at a time. Completes on the caller's executor.
    /// Cancelled: operation_aborted; the prefetch goes on.  Lifetime: the handle outlives the call.
    asio::awaitable<prefetch_result> wait();

    /// readable() for any completion token: void(std::exception_ptr, read_lease).
    template <class CompletionToken>
    auto async_readable(std::size_t positions, CompletionToken&& token)
    {
        return asio::async_initiate<CompletionToken, void(std::exception_ptr, read_lease)>(
            [this](auto done, std::size_t n) { start_readable(n, std::move(done)); }, token, positions);
    }

    /// wait() for any completion token: void(std::exception_ptr, prefetch_result).
    template <class CompletionToken>
    auto async_wait(CompletionToken&& token)
    {
        return asio::async_initiate<CompletionToken, void(std::exception_ptr, prefetch_result)>(
            [this](auto done) { start_wait(std::move(done)); }, token);
    }

    /// Asks the prefetch to stop. wait() then throws operation_aborted, unless the result was there already.
    void cancel();

private:
    friend class storage_manager;
    using handler = asio::any_completion_handler<void(std::exception_ptr, prefetch_result)>;
    explicit prefetch_handle(std::shared_ptr<detail::prefetch_task> task) noexcept;
    void start_wait(handler done);
    void start_readable(std::size_t positions, asio::any_completion_handler<void(std::exception_ptr, read_lease)> done);
    /// Throws std::invalid_argument for an empty handle.
    [[nodiscard]] detail::prefetch_task& task() const;

    std::shared_ptr<detail::prefetch_task> task_;
};

/// A lookup whose hits are pinned: nothing was moved, and nothing that was found can be evicted while the ticket lives.
///
/// Threads: one thread at a time. Dropping a ticket unpins, on any thread.
class TERRACE_API lookup_ticket {
public:
    lookup_ticket() noexcept; ///< no hits
    lookup_ticket(lookup_ticket&&) noexcept;
    lookup_ticket& operator=(lookup_ticket&&) noexcept;
    ~lookup_ticket();

    [[nodiscard]] std::size_t hits() const noexcept;        ///< keys that load() can make usable
    [[nodiscard]] std::size_t prefix_hits() const noexcept; ///< leading chunks that load() can make usable
    [[nodiscard]] const bitmap& found() const noexcept;     ///< of the request's keys

    /// Runs the rest of the chain. The ticket is spent: it then has no hits, whatever becomes of the call.
    /// Cancelled: operation_aborted, with every lock given back; I/O that has started keeps its buffers until it ends.
    asio::awaitable<prefetch_result> load();

    /// load() for any completion token: void(std::exception_ptr, prefetch_result).
    template <class CompletionToken>
    auto async_load(CompletionToken&& token)
    {
        return asio::async_initiate<CompletionToken, void(std::exception_ptr, prefetch_result)>(
            [this](auto done) { start_load(std::move(done)); }, token);
    }

private:
    friend class detail::engine; // the only mint
    using handler = asio::any_completion_handler<void(std::exception_ptr, prefetch_result)>;
    explicit lookup_ticket(std::unique_ptr<detail::lookup_state> state) noexcept;
    void start_load(handler done);

    std::unique_ptr<detail::lookup_state> state_;
};

} // namespace terrace
