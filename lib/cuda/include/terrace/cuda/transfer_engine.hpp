#pragma once

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/cuda/object_layout.hpp>
#include <terrace/cuda/transfer_backend.hpp>
#include <terrace/read_lease.hpp>
#include <terrace/write_lease.hpp>

namespace terrace::cuda {

/// Bounds what the backend has to do at a time.
struct transfer_limits {
    /// Jobs that the backend has at a time, in each direction: two keep a device busy, a cancelled transfer waits for
    /// as many. >= 1
    std::uint32_t jobs = 4;
    std::uint64_t job_bytes = std::uint64_t{32} << 20; ///< of one job, unless one object's layers are more; >= 1
};

/// Device pages into staged objects. Object i of the lease gets chunk i; what was not reserved is passed over.
///
/// A class with constructors and setters, so that `co_await engine.gather({...})` is right under gcc 12.
class gather_request {
public:
    gather_request(write_lease into, page_layout pages, object_layout objects, std::vector<paged_chunk> chunks)
        : into_{std::move(into)},
          pages_{std::move(pages)},
          objects_{objects},
          chunks_{std::move(chunks)}
    {
    }
    /// Layers that move together; 0: all of them. Fewer let a consumer begin sooner, and cost a job each.
    gather_request& set_layers_per_step(std::uint32_t n) & { return layers_per_step_ = n, *this; }
    gather_request&& set_layers_per_step(std::uint32_t n) && { return layers_per_step_ = n, std::move(*this); }

private:
    friend class transfer_engine;
    write_lease into_;
    page_layout pages_;
    object_layout objects_;
    std::vector<paged_chunk> chunks_;
    std::uint32_t layers_per_step_ = 0;
};

/// Objects into device pages. Object i of the lease goes to chunk i.
class scatter_request {
public:
    scatter_request(read_lease from, page_layout pages, object_layout objects, std::vector<paged_chunk> chunks)
        : from_{std::move(from)},
          pages_{std::move(pages)},
          objects_{objects},
          chunks_{std::move(chunks)}
    {
    }
    scatter_request& set_layers_per_step(std::uint32_t n) & { return layers_per_step_ = n, *this; }
    scatter_request&& set_layers_per_step(std::uint32_t n) && { return layers_per_step_ = n, std::move(*this); }
    /// Object i + first goes to chunk i: those before have been moved already.
    scatter_request& set_first_object(std::size_t first) & { return first_object_ = first, *this; }
    scatter_request&& set_first_object(std::size_t first) && { return first_object_ = first, std::move(*this); }

private:
    friend class transfer_engine;
    read_lease from_;
    page_layout pages_;
    object_layout objects_;
    std::vector<paged_chunk> chunks_;
    std::uint32_t layers_per_step_ = 0;
    std::size_t first_object_ = 0;
};

/// What a transfer engine has to do (gauges) and has done (counters).
struct transfer_status {
    std::uint64_t jobs_in_flight = 0; ///< that the backend works on
    std::uint64_t transfers = 0;      ///< that have not ended
    std::uint64_t gathered_bytes = 0;
    std::uint64_t scattered_bytes = 0;
    std::uint64_t completed = 0; ///< transfers
    std::uint64_t failed = 0;
    std::uint64_t cancelled = 0;
};

namespace detail {
class transfer_core;
class transfer_run;
} // namespace detail

/// A transfer that runs on its own. Dropping the handle stops the transfer: what the device has begun it finishes, and
/// leases live until it has.
///
/// Threads: the engine's executor.
class TERRACE_API transfer_handle {
public:
    transfer_handle() noexcept; ///< empty; so is what was moved from. It can only be assigned to and destroyed.
    transfer_handle(transfer_handle&&) noexcept;
    transfer_handle& operator=(transfer_handle&&) noexcept;
    ~transfer_handle();

    /// Until layers 0 to `layer` of all objects are where they are to be. Throws std::invalid_argument if there is no
    /// such layer, what the backend reported, or operation_aborted if the transfer was stopped before.
    /// Cancelled: operation_aborted; the transfer goes on.
    asio::awaitable<void> layer(std::uint32_t layer);

    /// Until all of it is.
    /// Cancelled: operation_aborted; the transfer goes on.
    asio::awaitable<void> wait();

    /// The same.
    /// Cancelled: as cancel(), and it ends when the device has let go of the memory.
    asio::awaitable<void> finish();

    /// What was gathered into, once all of it is there: to be committed. Else, and for a scatter, it holds nothing.
    [[nodiscard]] write_lease take();

    /// Starts no more jobs. wait() throws operation_aborted when the last has ended, unless none was left to start.
    void cancel();

    /// layer(), wait() and finish() for any completion token: void(std::exception_ptr).
    template <class CompletionToken>
    auto async_layer(std::uint32_t layer, CompletionToken&& token)
    {
        return asio::async_initiate<CompletionToken, void(std::exception_ptr)>(
            [this](auto done, std::uint32_t n) { start_layer(n, std::move(done)); }, token, layer);
    }
    template <class CompletionToken>
    auto async_wait(CompletionToken&& token)
    {
        return asio::async_initiate<CompletionToken, void(std::exception_ptr)>(
            [this](auto done) { start_wait(std::move(done)); }, token);
    }
    template <class CompletionToken>
    auto async_finish(CompletionToken&& token)
    {
        return asio::async_initiate<CompletionToken, void(std::exception_ptr)>(
            [this](auto done) { start_finish(std::move(done)); }, token);
    }

private:
    friend class transfer_engine;
    using handler = asio::any_completion_handler<void(std::exception_ptr)>;
    explicit transfer_handle(std::shared_ptr<detail::transfer_run> run) noexcept;
    void start_layer(std::uint32_t layer, handler done);
    void start_wait(handler done);
    void start_finish(handler done);
    [[nodiscard]] detail::transfer_run& run() const;

    std::shared_ptr<detail::transfer_run> run_;
};

/// Moves KV between L1 and the pages of an inference engine.
///
/// A transfer is cut into jobs by layers and by bytes. The backend has a few of them at a time; those of one direction
/// begin in order, and the two directions do not wait for each other. A job's end comes to the executor as a posted
/// handler: no thread waits or polls meanwhile, and the executor's run() does not return before.
///
/// Errors    a request that does not fit its lease throws std::invalid_argument, and nothing moves. What the backend
///           reports ends the transfer: a boost::system::system_error, after its other jobs have ended. The destination
///           is then anything, and what was being gathered is discarded unseen. errc::closed after close()
/// Lifetime  transfers own their leases, and need no engine to end; the executor's context outlives them: close() first
/// Threads   the executor, which runs one handler at a time
class TERRACE_API transfer_engine {
public:
    /// Throws std::invalid_argument if a limit is 0 or the backend null.
    transfer_engine(asio::any_io_executor executor, std::shared_ptr<transfer_backend> backend,
                    transfer_limits limits = {});
    ~transfer_engine(); ///< stops all transfers, and does not wait for them
    transfer_engine(const transfer_engine&) = delete;
    transfer_engine& operator=(const transfer_engine&) = delete;

    /// Fills staged objects, and gives the lease back for the caller to commit.
    /// Cancelled: operation_aborted, after the device has let go of the memory; the objects are discarded. Too late for
    /// a job to be left out, it has no effect.
    asio::awaitable<write_lease> gather(gather_request request);

    /// Ends when the last byte is on the device, and with it the lease.
    /// Cancelled: as above; the pages have some of the bytes.
    asio::awaitable<void> scatter(scatter_request request);

    /// The same, to run on their own: for a consumer that takes layer k while layer k + 1 moves.
    [[nodiscard]] transfer_handle submit_gather(gather_request request);
    [[nodiscard]] transfer_handle submit_scatter(scatter_request request);

    /// Stops all transfers, starts none any more, and returns when the backend is done.
    /// Cancelled: operation_aborted; it goes on closing.
    asio::awaitable<void> close();

    [[nodiscard]] transfer_status status() const;
    [[nodiscard]] const asio::any_io_executor& executor() const noexcept;

private:
    std::shared_ptr<detail::transfer_core> core_;
};

} // namespace terrace::cuda
