#include "l1/prefault.hpp"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <fmt/format.h>
#include <mutex>
#include <sys/mman.h>
#include <system_error>
#include <thread>
#include <vector>

namespace terrace {
namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t piece = std::size_t{8} << 20; // whole huge pages, and milliseconds of work

/// The error number; 0: all of it is present.
int populate(std::span<std::byte> memory) noexcept
{
    while (::madvise(memory.data(), memory.size(), MADV_POPULATE_WRITE) != 0) {
        if (errno == EINVAL) { // before Linux 5.14
            touch_by_hand(memory);
            return 0;
        }
        if (errno != EINTR)
            return errno;
    }
    return 0;
}

/// The memory by pieces: each goes to the first thread that asks.
class piecework {
public:
    explicit piecework(std::span<std::byte> memory) : memory_{memory} {}

    /// Works until nothing is left to begin.
    void work() noexcept
    {
        for (auto next = take(); !next.empty(); next = take())
            finish(next.size(), populate(next));
    }

    /// Begins no further piece.
    void stop() noexcept
    {
        std::scoped_lock guard{mutex_};
        begun_ = memory_.size();
    }

    /// Waits until more than `seen` bytes are done, or a piece has failed; returns how many are done.
    std::size_t wait_past(std::size_t seen)
    {
        std::unique_lock guard{mutex_};
        changed_.wait(guard, [&] { return done_ > seen || error_ != 0; });
        return done_;
    }

    int error()
    {
        std::scoped_lock guard{mutex_};
        return error_;
    }

private:
    std::span<std::byte> take() noexcept
    {
        std::scoped_lock guard{mutex_};
        const auto next = memory_.subspan(begun_, std::min(piece, memory_.size() - begun_));
        begun_ += next.size();
        return next;
    }

    void finish(std::size_t bytes, int error) noexcept
    {
        std::scoped_lock guard{mutex_};
        if (error == 0) {
            done_ += bytes;
        } else {
            begun_ = memory_.size();
            if (error_ == 0)
                error_ = error;
        }
        changed_.notify_one();
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    const std::span<std::byte> memory_;
    std::size_t begun_ = 0; // bytes from the start
    std::size_t done_ = 0;  // bytes, anywhere
    int error_ = 0;         // the first
};

std::size_t worker_count(std::uint32_t wanted, std::size_t bytes)
{
    constexpr std::uint32_t enough = 8; // they share the memory's bandwidth, and the kernel's locks
    if (wanted == 0)
        wanted = std::clamp(std::thread::hardware_concurrency(), 1U, enough);
    return std::min<std::size_t>(wanted, (bytes + piece - 1) / piece);
}

} // namespace

void touch_by_hand(std::span<std::byte> memory) noexcept
{
    for (std::size_t at = 0; at < memory.size(); at += page_bytes)
        static_cast<volatile std::byte&>(memory[at]) = std::byte{0};
}

void prefault(std::span<std::byte> memory, std::uint32_t threads, const prefault_progress& progress)
{
    piecework pieces{memory};
    {
        std::vector<std::jthread> workers; // joined before the pieces go
        const std::size_t wanted = worker_count(threads, memory.size());
        workers.reserve(wanted);
        try {
            while (workers.size() < wanted)
                workers.emplace_back([&pieces] { pieces.work(); });
        } catch (const std::system_error&) {
            // Those that there are do it.
        }
        if (workers.empty())
            pieces.work();
        try {
            for (std::size_t done = 0; done < memory.size() && pieces.error() == 0;) {
                done = pieces.wait_past(done);
                if (progress)
                    progress(done, memory.size());
            }
        } catch (...) {
            pieces.stop();
            throw;
        }
    }
    if (const int error = pieces.error(); error != 0)
        throw std::system_error(error, std::system_category(),
                                fmt::format("cannot pre-fault {} bytes of L1", memory.size()));
}

} // namespace terrace
