#pragma once

#include <atomic>
#include <memory>

#include <terrace/io/disk_io.hpp>

#include "io_pool.hpp"
#include "uring_queue.hpp"

namespace terrace::io {

/// An io_uring for direct transfers, and threads for all else that blocks.
///
/// A staged item whose file is read or written through the page cache stays on its thread: that is a copy by the
/// processor, and to queue it would only add two crossings.
class uring_io final : public disk_io {
public:
    /// Throws std::system_error if the kernel refuses.
    explicit uring_io(const disk_io_options& options);
    ~uring_io() override { stop(); }

    asio::awaitable<void> run(std::span<transfer> transfers) override;
    asio::awaitable<void> run(std::size_t items, staged_work& work) override;
    asio::awaitable<void> for_each(std::size_t items, std::size_t grain, const io_pool::work& item) override;
    asio::awaitable<void> close() override;
    void stop() noexcept override;
    [[nodiscard]] std::string_view backend() const noexcept override { return "io_uring"; }

private:
    class batch;
    class plain_batch;
    class staged_batch;

    std::atomic<bool> stopping_ = false;
    std::shared_ptr<uring_queue> queue_; // shared with the batches under way
    io_pool pool_;                       // last: its threads use the above
};

} // namespace terrace::io
