#include <terrace/storage_manager.hpp>

#include "base/batch.hpp"
#include "engine.hpp"
#include "prefetch_task.hpp"

#include <boost/asio/co_spawn.hpp>
#include <stdexcept>

namespace terrace {

using detail::engine;

storage_manager::storage_manager(asio::any_io_executor executor, config cfg)
    : engine_{engine::make(std::move(executor), std::move(cfg))}
{
}
storage_manager::storage_manager(storage_manager&&) noexcept = default;
storage_manager& storage_manager::operator=(storage_manager&& other) noexcept
{
    if (engine_ != nullptr && engine_ != other.engine_)
        engine_->abandon();
    engine_ = std::move(other.engine_);
    return *this;
}
storage_manager::~storage_manager()
{
    if (engine_ != nullptr)
        engine_->abandon();
}

// ---- adapters --------------------------------------------------------------------------------------------------

adapter_id storage_manager::add_adapter(std::unique_ptr<l2_adapter> adapter, adapter_options options)
{
    return engine_->add_adapter(std::move(adapter), options);
}

asio::awaitable<void> storage_manager::remove_adapter(adapter_id id)
{
    return engine::cross(engine_, engine_->remove_adapter(id));
}

void storage_manager::start_remove_adapter(adapter_id id, handler<void> done)
{
    asio::co_spawn(engine_->context.executor, remove_adapter(id), std::move(done));
}

// ---- L1 --------------------------------------------------------------------------------------------------------

write_lease storage_manager::reserve_write(std::span<const object_key> keys, const memory_layout& layout,
                                           write_mode mode)
{
    detail::check_keys("reserve_write", keys);
    detail::check_layout("reserve_write", layout);
    return *engine_->context.l1->reserve_write(keys, layout, mode, l1_cache::on_shortage::keep_leading);
}

asio::awaitable<write_lease> storage_manager::reserve_write_when_free(std::vector<object_key> keys,
                                                                      memory_layout layout, clock::time_point deadline,
                                                                      write_mode mode)
{
    return engine::cross(engine_, engine_->reserve_write_when_free(std::move(keys), std::move(layout), deadline, mode));
}

void storage_manager::start_reserve_write(std::vector<object_key> keys, memory_layout layout,
                                          clock::time_point deadline, write_mode mode, handler<write_lease> done)
{
    asio::co_spawn(engine_->context.executor,
                   reserve_write_when_free(std::move(keys), std::move(layout), deadline, mode), std::move(done));
}

read_lease storage_manager::read(std::span<const object_key> keys, read_options options)
{
    detail::check_keys("read", keys);
    detail::check_readers("read", options.readers);
    return engine_->context.l1->read(keys, options.readers);
}

void storage_manager::keep(read_lease lease)
{
    engine_->ledger.keep(std::move(lease));
}

void storage_manager::finish_read(std::span<const object_key> keys, std::uint32_t n)
{
    engine_->ledger.finish_read(keys, n);
}

bitmap storage_manager::pin(std::span<const object_key> keys, clock::time_point until)
{
    return engine_->pin(keys, until);
}

bitmap storage_manager::unpin(std::span<const object_key> keys)
{
    detail::check_keys("unpin", keys);
    return engine_->pins.unpin(keys);
}

bitmap storage_manager::touch(std::span<const object_key> keys)
{
    detail::check_keys("touch", keys);
    return engine_->context.l1->touch(keys);
}

bitmap storage_manager::erase(std::span<const object_key> keys)
{
    detail::check_keys("erase", keys);
    engine_->pins.forget(keys);
    return engine_->context.l1->erase(keys);
}

std::size_t storage_manager::clear(clear_mode mode)
{
    if (mode == clear_mode::force)
        engine_->pins.unpin_all();
    return engine_->context.l1->clear(mode);
}

l1_memory storage_manager::l1_memory() const
{
    return engine_->context.l1->memory();
}

// ---- prefetch --------------------------------------------------------------------------------------------------

asio::awaitable<prefetch_result> storage_manager::prefetch(prefetch_request request)
{
    return engine::prefetch(engine_, std::move(request));
}

void storage_manager::start_prefetch(prefetch_request request, handler<prefetch_result> done)
{
    asio::co_spawn(engine_->context.executor, prefetch(std::move(request)), std::move(done));
}

asio::awaitable<lookup_ticket> storage_manager::lookup(prefetch_request request)
{
    return engine::cross(engine_, engine_->lookup(std::move(request)));
}

void storage_manager::start_lookup(prefetch_request request, handler<lookup_ticket> done)
{
    asio::co_spawn(engine_->context.executor, lookup(std::move(request)), std::move(done));
}

prefetch_handle storage_manager::submit_prefetch(prefetch_request request)
{
    engine_->check(request);
    engine_->throw_if_closed();
    return prefetch_handle{detail::prefetch_task::start(engine_, std::move(request))};
}

// ---- the whole -------------------------------------------------------------------------------------------------

asio::awaitable<void> storage_manager::flush()
{
    return engine::cross(engine_, engine_->flush());
}

void storage_manager::start_flush(handler<void> done)
{
    asio::co_spawn(engine_->context.executor, flush(), std::move(done));
}

engine_status storage_manager::status() const
{
    return engine_->status();
}

std::vector<salt_usage> storage_manager::usage_by_salt() const
{
    return engine_->context.l1->usage_by_salt();
}

asio::awaitable<void> storage_manager::close()
{
    return engine::cross(engine_, engine_->close());
}

void storage_manager::start_close(handler<void> done)
{
    asio::co_spawn(engine_->context.executor, close(), std::move(done));
}

// ---- lookup_ticket ---------------------------------------------------------------------------------------------

lookup_ticket::lookup_ticket() noexcept = default;
lookup_ticket::lookup_ticket(std::unique_ptr<detail::lookup_state> state) noexcept : state_{std::move(state)} {}
lookup_ticket::lookup_ticket(lookup_ticket&&) noexcept = default;
lookup_ticket& lookup_ticket::operator=(lookup_ticket&&) noexcept = default;
lookup_ticket::~lookup_ticket() = default;

const bitmap& lookup_ticket::found() const noexcept
{
    static const bitmap nothing;
    return state_ != nullptr ? state_->found : nothing;
}

std::size_t lookup_ticket::hits() const noexcept
{
    return found().count();
}

std::size_t lookup_ticket::prefix_hits() const noexcept
{
    return state_ != nullptr ? state_->hits : 0;
}

asio::awaitable<prefetch_result> lookup_ticket::load()
{
    if (state_ == nullptr)
        return detail::no_result();
    auto state = std::move(state_);
    auto owner = state->owner;
    return engine::cross(owner, owner->chain.load(std::move(state->run)));
}

void lookup_ticket::start_load(handler done)
{
    auto executor = state_ != nullptr ? state_->owner->context.executor : asio::any_io_executor{};
    if (!executor)
        executor = asio::any_io_executor{asio::system_executor{}};
    asio::co_spawn(executor, load(), std::move(done));
}

// ---- prefetch_handle -------------------------------------------------------------------------------------------

prefetch_handle::prefetch_handle() noexcept = default;
prefetch_handle::prefetch_handle(std::shared_ptr<detail::prefetch_task> task) noexcept : task_{std::move(task)} {}
prefetch_handle::prefetch_handle(prefetch_handle&&) noexcept = default;
prefetch_handle& prefetch_handle::operator=(prefetch_handle&& other) noexcept
{
    if (task_ != nullptr && task_ != other.task_)
        task_->cancel();
    task_ = std::move(other.task_);
    return *this;
}
prefetch_handle::~prefetch_handle()
{
    if (task_ != nullptr)
        task_->cancel();
}

std::optional<std::size_t> prefetch_handle::lookup_hits() const
{
    return task_ != nullptr ? task_->lookup_hits() : std::nullopt;
}

std::optional<prefetch_result> prefetch_handle::poll()
{
    return task_ != nullptr ? task_->poll() : std::nullopt;
}

asio::awaitable<prefetch_result> prefetch_handle::wait()
{
    return async_wait(asio::use_awaitable);
}

detail::prefetch_task& prefetch_handle::task() const
{
    if (task_ == nullptr)
        throw std::invalid_argument("the prefetch_handle is empty; expected one that submit_prefetch() returned");
    return *task_;
}

asio::awaitable<read_lease> prefetch_handle::readable(std::size_t positions)
{
    return detail::prefetch_task::readable(task().shared_from_this(), positions);
}

void prefetch_handle::start_readable(std::size_t positions,
                                     asio::any_completion_handler<void(std::exception_ptr, read_lease)> done)
{
    asio::co_spawn(task().executor(), readable(positions), std::move(done));
}

void prefetch_handle::start_wait(handler done)
{
    task().wait(std::move(done));
}

void prefetch_handle::cancel()
{
    if (task_ != nullptr)
        task_->cancel();
}

} // namespace terrace
