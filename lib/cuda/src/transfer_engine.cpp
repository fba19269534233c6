#include <terrace/cuda/transfer_engine.hpp>

#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>
#include <stdexcept>

#include "transfer_run.hpp"

namespace terrace::cuda {

using detail::transfer_run;

transfer_handle::transfer_handle() noexcept = default;
transfer_handle::transfer_handle(transfer_handle&&) noexcept = default;
transfer_handle::transfer_handle(std::shared_ptr<transfer_run> run) noexcept : run_{std::move(run)} {}

transfer_handle& transfer_handle::operator=(transfer_handle&& from) noexcept
{
    if (run_ && run_ != from.run_)
        run_->stop();
    run_ = std::move(from.run_);
    return *this;
}

transfer_handle::~transfer_handle()
{
    if (run_)
        run_->stop();
}

transfer_run& transfer_handle::run() const
{
    if (!run_)
        throw std::invalid_argument("transfer handle: it is empty");
    return *run_;
}

asio::awaitable<void> transfer_handle::layer(std::uint32_t layer)
{
    return async_layer(layer, asio::use_awaitable);
}

asio::awaitable<void> transfer_handle::wait()
{
    return async_wait(asio::use_awaitable);
}

asio::awaitable<void> transfer_handle::finish()
{
    return async_finish(asio::use_awaitable);
}

void transfer_handle::start_layer(std::uint32_t layer, handler done)
{
    if (layer >= run().layers())
        throw std::invalid_argument(fmt::format("transfer handle: layer {} of {}", layer, run().layers()));
    run().wait(layer, transfer_run::when_cancelled::leave, std::move(done));
}

void transfer_handle::start_wait(handler done)
{
    run().wait(transfer_run::everything, transfer_run::when_cancelled::leave, std::move(done));
}

void transfer_handle::start_finish(handler done)
{
    run().wait(transfer_run::everything, transfer_run::when_cancelled::stop_and_stay, std::move(done));
}

write_lease transfer_handle::take()
{
    return run().take();
}

void transfer_handle::cancel()
{
    run().stop();
}

transfer_engine::transfer_engine(asio::any_io_executor executor, std::shared_ptr<transfer_backend> backend,
                                 transfer_limits limits)
    : core_{std::make_shared<detail::transfer_core>(std::move(executor), std::move(backend), limits)}
{
}

transfer_engine::~transfer_engine()
{
    core_->stop_all();
}

transfer_handle transfer_engine::submit_gather(gather_request request)
{
    auto run = std::make_shared<transfer_run>(core_, direction::gather, std::move(request.pages_), request.objects_,
                                              std::move(request.chunks_));
    run->write_to(std::move(request.into_));
    run->plan(request.layers_per_step_, core_->limits.job_bytes);
    core_->submit(run);
    return transfer_handle{std::move(run)};
}

transfer_handle transfer_engine::submit_scatter(scatter_request request)
{
    auto run = std::make_shared<transfer_run>(core_, direction::scatter, std::move(request.pages_), request.objects_,
                                              std::move(request.chunks_));
    run->read_from(std::move(request.from_), request.first_object_);
    run->plan(request.layers_per_step_, core_->limits.job_bytes);
    core_->submit(run);
    return transfer_handle{std::move(run)};
}

asio::awaitable<write_lease> transfer_engine::gather(gather_request request)
{
    auto moving = submit_gather(std::move(request));
    co_await moving.finish();
    co_return moving.take();
}

asio::awaitable<void> transfer_engine::scatter(scatter_request request)
{
    auto moving = submit_scatter(std::move(request));
    co_await moving.finish();
}

asio::awaitable<void> transfer_engine::close()
{
    const auto core = core_;
    core->stop_all();
    while (core->status.transfers != 0)
        co_await core->idle.wait();
}

transfer_status transfer_engine::status() const
{
    return core_->status;
}

const asio::any_io_executor& transfer_engine::executor() const noexcept
{
    return core_->executor;
}

} // namespace terrace::cuda
