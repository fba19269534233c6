#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <terrace/error.hpp>
#include <terrace/io/transfer.hpp>

namespace terrace::io {

/// Who moves the bytes.
enum class io_backend : std::uint8_t {
    automatic, ///< io_uring, or threads where the kernel refuses it
    uring,
    threads,
};

/// "auto", "uring" or "threads". Throws std::invalid_argument for anything else.
[[nodiscard]] io_backend parse_io_backend(std::string_view text);

/// How a disk_io works.
class disk_io_options {
public:
    disk_io_options() = default;

    io_backend backend = io_backend::automatic;
    std::uint32_t depth = 64;          ///< of io_uring: calls in the kernel at a time; 1 to 4096
    std::uint32_t threads = 4;         ///< for calls that block; 1 to 256
    std::uint64_t in_flight_bytes = 0; ///< of io_uring: in the kernel at a time, or one call if that is larger;
                                       ///< 0: tunes itself, from 64 MiB on
    /// Of io_uring: what use_memory() names is registered with the kernel, which then holds all of its pages.
    bool register_memory = false;
};

/// What is done with each item of a batch before and after its transfer. Both are called on threads that may block,
/// for several items at once.
class staged_work {
public:
    virtual ~staged_work() = default;

    /// Opens the file and makes room: whatever comes before. Nothing: the item needs no transfer, or no longer.
    virtual std::optional<transfer> begin(std::size_t item) = 0;

    /// Whatever comes after. Called for each item that has a transfer, also if that was cancelled before it began.
    virtual void end(std::size_t item, const transfer& done) = 0;
};

/// Moves bytes between files and memory, and makes calls that block, off the executor.
///
/// Lifetime  what is passed in stays until the awaitable ends, and the executor's context until close() or stop() has.
///           Destroyed without close(), it does what stop() does
/// Threads   called, cancelled and completing on one executor that runs one handler at a time; any number of calls at
///           once. stop() and the destructor: on that executor, or while it is not running
class disk_io {
public:
    /// Throws std::invalid_argument for options that cannot be, std::system_error if the kernel refuses what they name.
    [[nodiscard]] static std::unique_ptr<disk_io> make(const disk_io_options& options);
    virtual ~disk_io() = default;

    /// Performs each transfer, in no order; each says how it ended.
    ///
    /// Cancelled  those not begun are left out, with operation_aborted; it ends when the others have. It does not throw
    virtual asio::awaitable<void> run(std::span<transfer> transfers) = 0;

    /// Begins each item, performs its transfer and ends it, without waiting for the others in between.
    ///
    /// Errors     the first thing that an item threw; the items not begun are left out then
    /// Cancelled  items not begun are left out, transfers not begun end with operation_aborted. It does not throw
    virtual asio::awaitable<void> run(std::size_t items, staged_work& work) = 0;

    /// Calls `item` for 0 to items - 1, in this order, on several threads at once.
    ///
    /// grain      items that one thread takes at a time, >= 1: more for what is cheaper than to wake a thread
    /// Errors     the first thing that an item threw
    /// Cancelled  items not yet begun are left out. It does not throw: what was done is done
    virtual asio::awaitable<void> for_each(std::size_t items, std::size_t grain,
                                           const std::function<void(std::size_t)>& item) = 0;

    /// Leaves out what is not yet begun, waits for the rest and ends the threads. Nothing may follow it.
    virtual asio::awaitable<void> close() = 0;

    /// The same, in the calling thread. Batches under way complete on their executors, now or later.
    virtual void stop() noexcept = 0;

    /// What is asked for from now on may be from and into this memory, which stays accessible until close(). It starts
    /// where it did in earlier calls, and is longer. Registers it, where that was asked for and can be; returns at
    /// once.
    virtual void use_memory(std::span<std::byte> memory) = 0;

    /// "io_uring" or "threads", and what of the memory is registered. Any thread.
    [[nodiscard]] virtual std::string backend() const = 0;
};

} // namespace terrace::io
