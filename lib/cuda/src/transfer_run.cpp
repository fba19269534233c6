#include "transfer_run.hpp"

#include "base/assert.hpp"

#include <algorithm>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/system/system_error.hpp>
#include <fmt/format.h>
#include <optional>
#include <stdexcept>

namespace terrace::cuda::detail {
namespace {

[[nodiscard]] std::exception_ptr stopped_by_caller()
{
    return std::make_exception_ptr(boost::system::system_error{asio::error::operation_aborted});
}

} // namespace

std::vector<transfer_step> cut_into_steps(const std::vector<std::uint64_t>& item_bytes_per_layer, std::uint32_t layers,
                                          std::uint32_t layers_per_step, std::uint64_t job_bytes)
{
    std::vector<transfer_step> steps;
    const std::uint32_t stride = layers_per_step == 0 ? layers : std::min(layers_per_step, layers);
    for (std::uint32_t layer = 0; layer < layers; layer += stride) {
        const layer_range range{layer, std::min(layers, layer + stride)};
        const std::size_t first_of_these = steps.size();
        for (std::size_t i = 0; i < item_bytes_per_layer.size(); ++i) {
            const std::uint64_t bytes = item_bytes_per_layer[i] * (range.last - range.first);
            if (steps.size() == first_of_these || steps.back().bytes + bytes > job_bytes)
                steps.push_back({range, i, i, 0});
            steps.back().last_item = i + 1;
            steps.back().bytes += bytes;
        }
    }
    return steps;
}

transfer_run::transfer_run(std::shared_ptr<transfer_core> core, direction way, page_layout pages, object_layout objects,
                           std::vector<paged_chunk> chunks)
    : core_{std::move(core)},
      way_{way},
      pages_{std::move(pages)},
      objects_{objects},
      chunks_{std::move(chunks)}
{
    for (const paged_chunk& chunk : chunks_)
        chunk.check(pages_, objects_);
}

void transfer_run::check_object(std::size_t chunk, std::size_t bytes) const
{
    const std::uint64_t expected = objects_.size_bytes(pages_.shape());
    if (bytes != expected)
        throw std::invalid_argument(
            fmt::format("transfer: the object of chunk {} has {} bytes; {} by its layout", chunk, bytes, expected));
}

void transfer_run::add(std::size_t chunk, std::byte* object)
{
    const page_shape& shape = pages_.shape();
    items_.push_back({object, &chunks_[chunk]});
    item_bytes_per_layer_.push_back(chunks_[chunk].tokens_of(objects_.tokens()) * shape.kv * shape.token_bytes());
}

void transfer_run::read_from(read_lease from, std::size_t first_object)
{
    if (first_object > from.size() || from.size() - first_object != chunks_.size())
        throw std::invalid_argument(fmt::format("transfer: {} chunks for the objects {} to {} of a lease",
                                                chunks_.size(), first_object, from.size()));
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
        const auto bytes = from.bytes(first_object + i);
        check_object(i, bytes.size());
        add(i, const_cast<std::byte*>(bytes.data())); // a scatter only reads it
    }
    from_ = std::move(from);
}

void transfer_run::write_to(write_lease into)
{
    if (into.size() != chunks_.size())
        throw std::invalid_argument(
            fmt::format("transfer: {} chunks for a lease of {} objects", chunks_.size(), into.size()));
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
        if (into.ok(i) != l1_error::none)
            continue;
        check_object(i, into.bytes(i).size());
        add(i, into.bytes(i).data());
    }
    into_ = std::move(into);
}

void transfer_run::plan(std::uint32_t layers_per_step, std::uint64_t job_bytes)
{
    steps_ = cut_into_steps(item_bytes_per_layer_, layers(), layers_per_step, job_bytes);
    step_ended_.resize(steps_.size());
}

void transfer_run::begin_step()
{
    TERRACE_ASSERT(!all_started());
    ++in_flight_;
    ++next_;
}

transfer_job transfer_run::job_of(std::size_t step) const
{
    const transfer_step& s = steps_[step];
    return {way_,
            pages_,
            objects_,
            s.layers,
            {items_.begin() + static_cast<std::ptrdiff_t>(s.first_item),
             items_.begin() + static_cast<std::ptrdiff_t>(s.last_item)}};
}

void transfer_run::end_step(std::size_t step, boost::system::error_code error)
{
    --in_flight_;
    if (error) {
        fail(std::make_exception_ptr(boost::system::system_error{
            error, fmt::format("{} of layers {} to {}", way_ == direction::gather ? "gather" : "scatter",
                               steps_[step].layers.first, steps_[step].layers.last - 1)}));
        return;
    }
    step_ended_[step] = true;
    while (leading_ended_ < steps_.size() && step_ended_[leading_ended_])
        ++leading_ended_;
    end_if_done();
    wake_waiters();
}

void transfer_run::end_if_done()
{
    if (!ended_ && in_flight_ == 0 && all_started())
        end();
}

void transfer_run::stop()
{
    if (stopped_ || ended_)
        return;
    stopped_ = true;
    end_if_done();
    wake_waiters();
}

void transfer_run::fail(std::exception_ptr why)
{
    stopped_ = true;
    if (!failure_)
        failure_ = std::move(why);
    end_if_done();
    wake_waiters();
}

void transfer_run::end()
{
    const auto self = shared_from_this(); // the core may have the last reference
    ended_ = true;
    const bool complete = leading_ended_ == steps_.size();
    const bool failed = failure_ != nullptr;
    if (!complete && !failed)
        failure_ = stopped_by_caller();
    from_ = {};
    if (!complete)
        into_ = {}; // discarded, unseen
    core_->ended(*this, failed, !complete && !failed);
}

write_lease transfer_run::take()
{
    return ended_ ? std::exchange(into_, {}) : write_lease{};
}

bool transfer_run::arrived(std::uint32_t layer) const noexcept
{
    return leading_ended_ == steps_.size() || (layer != everything && steps_[leading_ended_].layers.first > layer);
}

void transfer_run::wait(std::uint32_t layer, when_cancelled what, handler done)
{
    // Who waits for all of it also waits for its end, when the lease has been given back.
    if (ended_ || (layer != everything && arrived(layer))) {
        complete(std::move(done), arrived(layer) ? nullptr : failure_);
        return;
    }
    auto slot = asio::get_associated_cancellation_slot(done);
    const std::uint64_t number = ++waiters_so_far_;
    // Counted as work of the waiter's executor, which must not run dry meanwhile.
    auto executor =
        asio::prefer(asio::get_associated_executor(done, core_->executor), asio::execution::outstanding_work.tracked);
    waiters_.push_back({layer, number, asio::bind_executor(executor, std::move(done))});
    if (slot.is_connected()) // after the handler has found its place, which sets the slot up anew
        slot.assign([weak = weak_from_this(), number, what](asio::cancellation_type) {
            const auto self = weak.lock();
            if (self && what == when_cancelled::leave)
                self->leave(number);
            else if (self)
                self->stop();
        });
}

void transfer_run::leave(std::uint64_t number)
{
    const auto w = std::ranges::find(waiters_, number, &waiter::number);
    if (w == waiters_.end())
        return; // the signal of one who has the answer
    handler done = std::move(w->done);
    waiters_.erase(w);
    complete(std::move(done), stopped_by_caller());
}

void transfer_run::wake_waiters()
{
    for (auto w = waiters_.begin(); w != waiters_.end();) {
        if (ended_ || (w->layer != everything && arrived(w->layer))) {
            complete(std::move(w->done), arrived(w->layer) ? nullptr : failure_);
            w = waiters_.erase(w);
        } else {
            ++w;
        }
    }
}

void transfer_run::complete(handler done, std::exception_ptr error)
{
    // Never from inside the caller's own call: that would complete before it has begun to wait.
    auto executor = asio::prefer(asio::get_associated_executor(done), asio::execution::blocking.never);
    executor.execute(
        [done = std::move(done), error = std::move(error)]() mutable { std::move(done)(std::move(error)); });
}

transfer_core::transfer_core(asio::any_io_executor e, std::shared_ptr<transfer_backend> b, transfer_limits l)
    : executor{std::move(e)},
      backend{std::move(b)},
      limits{l},
      idle{executor}
{
    if (limits.jobs == 0 || limits.job_bytes == 0)
        throw std::invalid_argument(
            fmt::format("transfer engine: {} jobs of {} bytes; at least 1 of either", limits.jobs, limits.job_bytes));
    if (backend == nullptr)
        throw std::invalid_argument("transfer engine: no backend");
}

void transfer_core::submit(std::shared_ptr<transfer_run> run)
{
    if (closed)
        throw boost::system::system_error{errc::closed};
    const direction way = run->way();
    const bool nothing_to_do = run->all_started(); // nothing was reserved
    if (!nothing_to_do)
        lines_[static_cast<std::size_t>(way)].push_back(run); // first: it may find no memory
    ++status.transfers;
    running_.push_back(*run);
    if (nothing_to_do)
        run->end_if_done();
    else
        pump(way);
}

void transfer_core::stop_all()
{
    closed = true;
    std::vector<std::shared_ptr<transfer_run>> all; // they leave the list when they end
    for (transfer_run& run : running_)
        all.push_back(run.shared_from_this());
    for (const auto& run : all)
        run->stop();
}

void transfer_core::pump(direction way)
{
    auto& line = lines_[static_cast<std::size_t>(way)];
    while (!line.empty() && in_flight_[static_cast<std::size_t>(way)] < limits.jobs) {
        if (line.front()->all_started()) {
            line.pop_front();
            continue;
        }
        const auto run = line.front();
        start(run);
    }
}

void transfer_core::start(const std::shared_ptr<transfer_run>& run)
{
    // The executor with its work counted: run() does not return before the job has come home. All of it is given up
    // over there: once the handler has run, the executor's context may be gone.
    struct homecoming {
        asio::any_io_executor home;
        std::shared_ptr<transfer_core> core;
        std::shared_ptr<transfer_run> run;
    };
    const std::size_t step = run->next_step();
    std::optional<transfer_job> job;
    transfer_backend::completion done;
    try {
        job.emplace(run->job_of(step));
        auto way_home = std::make_shared<homecoming>(
            homecoming{asio::prefer(executor, asio::execution::outstanding_work.tracked), shared_from_this(), run});
        done = [way_home, step](boost::system::error_code error) {
            homecoming h = std::move(*way_home);
            const asio::any_io_executor there = asio::prefer(h.home, asio::execution::outstanding_work.untracked);
            asio::post(there, [h = std::move(h), step, error] { h.core->end_step(h.run, step, error); });
        };
    } catch (...) { // no memory: this one fails, and pump() takes it out of the line
        run->fail(std::current_exception());
        return;
    }
    run->begin_step();
    ++in_flight_[static_cast<std::size_t>(run->way())];
    ++status.jobs_in_flight;
    backend->start(std::move(*job), std::move(done));
}

void transfer_core::end_step(const std::shared_ptr<transfer_run>& run, std::size_t step,
                             boost::system::error_code error)
{
    --in_flight_[static_cast<std::size_t>(run->way())];
    --status.jobs_in_flight;
    if (!error)
        (run->way() == direction::gather ? status.gathered_bytes : status.scattered_bytes) += run->step(step).bytes;
    run->end_step(step, error);
    pump(run->way());
}

void transfer_core::ended(transfer_run& run, bool failed, bool cancelled)
{
    run.unlink();
    --status.transfers;
    ++(failed ? status.failed : cancelled ? status.cancelled : status.completed);
    if (status.transfers == 0)
        idle.notify_all();
}

} // namespace terrace::cuda::detail
