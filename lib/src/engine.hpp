#pragma once

#include "flow/eviction_flow.hpp"
#include "flow/flow_context.hpp"
#include "flow/pin_table.hpp"
#include "flow/prefetch_chain.hpp"
#include "flow/room_queue.hpp"
#include "flow/store_flow.hpp"
#include "l1/key_ledger.hpp"

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <mutex>
#include <optional>

#include <terrace/storage_manager.hpp>

namespace terrace::detail {

/// What a storage_manager owns: L1, the flows, and how they start and end. Tasks, tickets and handles share it, so that
/// it ends after the last of them.
///
/// Threads: the executor, but for what says otherwise.
class engine : public l1_listener, public quota_listener, public std::enable_shared_from_this<engine> {
public:
    /// Throws as storage_manager's constructor does.
    [[nodiscard]] static std::shared_ptr<engine> make(asio::any_io_executor executor, config cfg);
    engine(asio::any_io_executor executor, const config& cfg);

    /// Runs `work` on the engine's executor, and completes on the caller's.
    template <class T>
    static asio::awaitable<T> cross(std::shared_ptr<engine> self, asio::awaitable<T> work)
    {
        auto here = co_await asio::this_coro::executor;
        if (here == self->context.executor)
            co_return co_await std::move(work);
        co_return co_await asio::co_spawn(self->context.executor, std::move(work), asio::use_awaitable);
    }

    /// On the caller's executor. What L1 has is answered there; the rest crosses over.
    static asio::awaitable<prefetch_result> prefetch(std::shared_ptr<engine> self, prefetch_request request);
    asio::awaitable<lookup_ticket> lookup(prefetch_request request);
    asio::awaitable<write_lease> reserve_write_when_free(std::vector<object_key> keys, memory_layout layout,
                                                         clock::time_point deadline, write_mode mode);
    asio::awaitable<void> remove_adapter(adapter_id id);
    asio::awaitable<void> flush();
    asio::awaitable<void> close();

    adapter_id add_adapter(std::unique_ptr<l2_adapter> adapter, adapter_options options); // any thread
    bitmap pin(std::span<const object_key> keys, clock::time_point until);                // any thread
    [[nodiscard]] engine_status status() const;                                           // any thread
    void abandon();                                                                       // any thread

    /// Throws std::invalid_argument for a request that cannot be. Any thread.
    void check(const prefetch_request& request) const;
    void throw_if_closed() const; // any thread

    void on_commit(read_lease fresh, write_mode mode) noexcept override;
    void on_wanted(read_lease objects, write_mode mode) noexcept override;
    void on_room() noexcept override;
    void on_pressure() noexcept override;
    void on_overdue() noexcept override;
    void on_growth(const l1_growth& how) noexcept override;
    void on_quotas() noexcept override;

    flow_context context;
    room_queue room;
    store_flow stores;
    prefetch_chain chain;
    eviction_flow eviction;
    key_ledger ledger; // any thread
    pin_table pins;    // any thread

private:
    enum class life { open, closing, closed };

    void offer(store_offer objects) noexcept; // any thread
    /// Null: there is none of this id.
    std::shared_ptr<adapter_slot> take_adapter(adapter_id id);
    asio::awaitable<void> shut_down();
    /// Closes them once they are idle. Errors: errc::close_timed_out after close_timeout; they are then closed later.
    asio::awaitable<void> close_adapters(adapter_list slots);
    /// Tells the log what the engine begins with.
    void log_start(const config& cfg) noexcept;
    void log_end(const std::exception_ptr& error) noexcept;
    /// Tells the log what l1_config::hook says, if that is something new.
    void look_at_hook() noexcept;
    void check_deadline(std::string_view operation, clock::time_point deadline) const;

    const std::chrono::milliseconds close_timeout_;
    const std::shared_ptr<memory_hook> hook_;
    std::string hook_problem_;  // as the log has it
    std::mutex adapters_mutex_; // what L1 offers must fit the adapters that there are
    std::atomic<std::uint32_t> last_adapter_ = 0;
    std::atomic<bool> refusing_ = false;  // any thread
    std::atomic<life> life_ = life::open; // changed on the executor
    event closed_;
    std::exception_ptr close_error_;
};

/// A lookup that a caller holds: what a lookup_ticket owns.
class lookup_state {
public:
    lookup_state(std::shared_ptr<engine> e, std::unique_ptr<prefetch_run> r)
        : owner{std::move(e)},
          hits{r->what->shape.hits(r->usable)},
          found{r->usable},
          run{std::move(r)}
    {
    }
    ~lookup_state(); // on any thread

    std::shared_ptr<engine> owner;
    std::size_t hits;
    bitmap found;
    std::unique_ptr<prefetch_run> run;
};

} // namespace terrace::detail
