#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <string_view>

#include <terrace/io/disk_io.hpp>
#include <terrace/segment_adapter.hpp>

#include "health_record.hpp"
#include "segment_log.hpp"
#include "write_group.hpp"

namespace terrace::segment {

/// A call that waits for records to be written.
class store_call {
public:
    explicit store_call(const asio::any_io_executor& executor) : wake{executor, asio::steady_timer::time_point::max()}
    {
    }

    asio::steady_timer wake; // a condition variable: it gets cancelled, it never expires
    std::size_t unwritten = 0;
};

/// Writes records to the end of the log: all that wait when it turns to them, in one group.
///
/// One coroutine does it, while there is something to write; so the order of the queue is the order on the disk.
///
/// Threads: one executor, which runs one handler at a time.
class segment_writer {
public:
    segment_writer(segment_log& log, io::disk_io& disk, segment_sync sync, health_record& health) noexcept
        : log_{log},
          disk_{disk},
          sync_{sync},
          health_{health}
    {
    }
    ~segment_writer() { queue_.clear(); }
    segment_writer(const segment_writer&) = delete;
    segment_writer& operator=(const segment_writer&) = delete;

    /// To be written after what waits already, for `call`. `keep_alive` owns this writer. If it throws, nothing waits.
    void enqueue(outgoing& record, store_call& call, std::shared_ptr<void> keep_alive);

    /// Waits until all records of the call are written or have failed. The coroutine does not throw_if_cancelled(), now
    /// and since it enqueued the first.
    ///
    /// Cancelled  objects whose writing has not begun are taken back; it ends when the others are written
    asio::awaitable<void> finish(store_call& call);

    /// A load has ended: a segment may have no readers any more.
    void reader_left();

    /// Waits until nothing is being written. Not to be cancelled, in the same way.
    asio::awaitable<void> finish();

    /// The disk_io has stopped: what waits fails.
    void stop() noexcept { stopped_ = true; }

private:
    asio::awaitable<void> run();
    asio::awaitable<void> write_all();
    asio::awaitable<boost::system::error_code> write_waiting(write_group& group);
    void settle(const write_group& group, const boost::system::error_code& failed);
    asio::awaitable<bool> begin_segment(std::uint64_t bytes);
    asio::awaitable<bool> reclaim_oldest();
    asio::awaitable<bool> copy(segment_file& from, std::span<const indexed> objects);
    asio::awaitable<boost::system::error_code> write(const write_group& group);
    asio::awaitable<boost::system::error_code> perform(const segment_file& in, std::span<io::transfer> writes);
    asio::awaitable<void> leave_bad_place(boost::system::error_code failed);
    asio::awaitable<bool> takes_writes();
    void withdraw(store_call& call);
    void note_growth();
    void refuse_front(std::string_view why, const boost::system::error_code& by_disk = {}) noexcept;

    segment_log& log_;
    io::disk_io& disk_;
    const segment_sync sync_;
    health_record& health_;
    boost::intrusive::list<outgoing, boost::intrusive::constant_time_size<false>> queue_;
    aligned_buffer staging_;
    bool running_ = false;
    bool stopped_ = false;
    asio::steady_timer* drained_ = nullptr; // in run(): wakes who waits for readers
    asio::steady_timer* ended_ = nullptr;   // in finish()
};

} // namespace terrace::segment
