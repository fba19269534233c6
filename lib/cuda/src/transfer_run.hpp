#pragma once

#include "base/event.hpp"

#include <array>
#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/intrusive/list.hpp>
#include <deque>
#include <exception>
#include <list>
#include <memory>
#include <vector>

#include <terrace/cuda/transfer_engine.hpp>

namespace terrace::cuda::detail {

/// What a transfer is made of: some layers of some objects, moved by one job.
struct transfer_step {
    layer_range layers;
    std::size_t first_item = 0;
    std::size_t last_item = 0;
    std::uint64_t bytes = 0;
};

/// How a transfer is cut into steps: all objects of the first layers come before any of the next. A step has as many
/// objects as keep it within job_bytes, and at least one.
[[nodiscard]] std::vector<transfer_step> cut_into_steps(const std::vector<std::uint64_t>& item_bytes_per_layer,
                                                        std::uint32_t layers, std::uint32_t layers_per_step,
                                                        std::uint64_t job_bytes);

/// One transfer: what its handle, its jobs and the engine share.
///
///     waiting for its turn --> moving --> all steps ended --> ended
///              |                  |                             ^
///              +---- stopped, by the caller or a failure -------+   when no job is in flight
class transfer_run
    : public std::enable_shared_from_this<transfer_run>,
      public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> { // of those
                                                                                                            // not ended
public:
    using handler = asio::any_completion_handler<void(std::exception_ptr)>;
    static constexpr std::uint32_t everything = ~std::uint32_t{0};

    transfer_run(std::shared_ptr<transfer_core> core, direction way, page_layout pages, object_layout objects,
                 std::vector<paged_chunk> chunks);

    // Before it begins. The leases are kept until the end.
    void read_from(read_lease from, std::size_t first_object);
    void write_to(write_lease into);
    void plan(std::uint32_t layers_per_step, std::uint64_t job_bytes);

    [[nodiscard]] direction way() const noexcept { return way_; }
    [[nodiscard]] bool all_started() const noexcept { return stopped_ || next_ == steps_.size(); }
    [[nodiscard]] bool ended() const noexcept { return ended_; }
    [[nodiscard]] const transfer_step& step(std::size_t i) const { return steps_[i]; }
    [[nodiscard]] std::size_t next_step() const noexcept { return next_; }
    void begin_step(); ///< the next one
    [[nodiscard]] transfer_job job_of(std::size_t step) const;
    void end_step(std::size_t step, boost::system::error_code error);
    void end_if_done();
    void stop();
    void fail(std::exception_ptr why); ///< what is in flight ends; nothing else begins

    [[nodiscard]] write_lease take();
    /// on_cancel: what becomes of a waiter who is cancelled.
    enum class when_cancelled { leave, stop_and_stay };
    void wait(std::uint32_t layer, when_cancelled what, handler done);
    [[nodiscard]] std::uint32_t layers() const noexcept { return pages_.shape().layers; }

private:
    struct waiter {
        std::uint32_t layer;
        std::uint64_t number;
        handler done;
    };
    void check_object(std::size_t chunk, std::size_t bytes) const;
    void add(std::size_t chunk, std::byte* object);
    void end();
    void wake_waiters();
    void leave(std::uint64_t number);
    [[nodiscard]] bool arrived(std::uint32_t layer) const noexcept;
    static void complete(handler done, std::exception_ptr error);

    const std::shared_ptr<transfer_core> core_;
    const direction way_;
    const page_layout pages_;
    const object_layout objects_;
    const std::vector<paged_chunk> chunks_;
    read_lease from_;
    write_lease into_;

    std::vector<transfer_job::item> items_;
    std::vector<std::uint64_t> item_bytes_per_layer_;
    std::vector<transfer_step> steps_;
    std::vector<bool> step_ended_;
    std::size_t leading_ended_ = 0; // steps
    std::size_t next_ = 0;
    std::size_t in_flight_ = 0;
    bool stopped_ = false;
    bool ended_ = false;
    std::exception_ptr failure_; // why it ended before all had moved
    std::uint64_t waiters_so_far_ = 0;
    std::list<waiter> waiters_;
};

/// What a transfer engine and its transfers share.
class transfer_core : public std::enable_shared_from_this<transfer_core> {
public:
    transfer_core(asio::any_io_executor e, std::shared_ptr<transfer_backend> b, transfer_limits l);

    void submit(std::shared_ptr<transfer_run> run);
    void stop_all();
    /// Hands the backend as much as the limits allow.
    void pump(direction way);
    void ended(transfer_run& run, bool failed, bool cancelled);

    const asio::any_io_executor executor;
    const std::shared_ptr<transfer_backend> backend;
    const transfer_limits limits;
    bool closed = false;
    transfer_status status;
    event idle; // notified when the last transfer has ended

private:
    void start(const std::shared_ptr<transfer_run>& run);
    void end_step(const std::shared_ptr<transfer_run>& run, std::size_t step, boost::system::error_code error);

    std::array<std::deque<std::shared_ptr<transfer_run>>, 2> lines_; // by direction; those with steps to start
    std::array<std::uint32_t, 2> in_flight_{};
    boost::intrusive::list<transfer_run, boost::intrusive::constant_time_size<false>> running_;
};

} // namespace terrace::cuda::detail
