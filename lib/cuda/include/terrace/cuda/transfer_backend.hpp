#pragma once

#include <boost/system/error_code.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/cuda/object_layout.hpp>

namespace terrace::cuda {

/// Which way bytes go.
enum class direction : std::uint8_t {
    gather,  ///< device pages into L1 objects
    scatter, ///< L1 objects into device pages
};

/// What a backend moves in one go.
struct transfer_job {
    struct item {
        std::byte* object = nullptr; ///< the object's first byte, at a multiple of 16; only read by a scatter
        const paged_chunk* chunk = nullptr;
    };
    direction way;
    page_layout pages;
    object_layout objects;
    layer_range layers;
    std::vector<item> items; ///< at least one; checked
};

/// Memory on the device, freed with the last copy. Of a GPU's, that waits for all that the device is doing.
class device_buffer {
public:
    device_buffer(std::shared_ptr<void> memory, device_address address, std::uint64_t bytes)
        : memory_{std::move(memory)},
          address_{address},
          bytes_{bytes}
    {
    }
    [[nodiscard]] device_address address() const noexcept { return address_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

private:
    std::shared_ptr<void> memory_;
    device_address address_;
    std::uint64_t bytes_;
};

/// What moves bytes between pages and objects: a GPU, or this machine's processors in its place.
///
/// Threads   any
/// Lifetime  destroying it waits for what it moves
class TERRACE_API transfer_backend {
public:
    /// Called once for each job, on any thread, also from within start(), when the backend has stopped touching the
    /// job's memory. It does not throw, and does not call the device.
    using completion = std::function<void(boost::system::error_code)>;

    virtual ~transfer_backend() = default;

    [[nodiscard]] virtual std::string_view name() const noexcept = 0;

    /// Begins to move, and returns before it is done. Jobs of one direction begin in order. Of a GPU's, each run costs
    /// the calling thread about half a microsecond if the copy engine moves them.
    ///
    /// Errors    reach `done`; the bytes at the job's destination are then anything
    /// Lifetime  objects, chunks and pages stay until `done` is called
    virtual void start(transfer_job job, completion done) = 0;

    /// Throws std::bad_alloc or std::runtime_error.
    [[nodiscard]] virtual device_buffer allocate(std::uint64_t bytes) = 0;
    /// Copy between the host and the device and wait for it. Not for the data path: for set-up, examples and tests.
    /// Throw std::runtime_error.
    virtual void upload(device_address to, std::span<const std::byte> from) = 0;
    virtual void download(std::span<std::byte> to, device_address from) = 0;
};

/// Pages in host memory, moved by `threads` threads of its own: for machines without a GPU, and for what runs on both.
/// Throws std::invalid_argument unless threads is 1 to 256. With more than one thread jobs may end out of order.
[[nodiscard]] TERRACE_API std::shared_ptr<transfer_backend> make_cpu_backend(std::size_t threads = 1);

/// Moves a job's bytes by the calling thread; pages in host memory.
TERRACE_API void copy_runs(const transfer_job& job) noexcept;

} // namespace terrace::cuda
