#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>

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
    void use_memory(std::span<std::byte> memory) override;
    [[nodiscard]] std::string backend() const override;

private:
    class batch;
    class plain_batch;
    class staged_batch;

    bool admit(const std::shared_ptr<staged_batch>& turn);
    void release();
    void wake_parked();
    void unpark(const staged_batch& of);

    std::atomic<bool> stopping_ = false;
    const bool register_memory_;
    const std::size_t max_staged_; // as many as the ring takes, and what the threads bring meanwhile

    std::mutex staged_mutex_;                          // for the next two
    std::size_t staged_ = 0;                           // items begun and not ended: each may hold a file open
    std::deque<std::shared_ptr<staged_batch>> parked_; // turns that wait until there are fewer; none may be forgotten
    std::shared_ptr<uring_queue> queue_;               // shared with the batches under way
    io_pool pool_;                                     // last: its threads use the above
};

} // namespace terrace::io
