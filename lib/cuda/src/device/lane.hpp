#pragma once

#include "../launch_plan.hpp"
#include "cuda_handles.hpp"

#include <array>
#include <vector>

#include <terrace/cuda/device.hpp>

namespace terrace::cuda::detail {

/// One direction of a GPU: its streams, and its part of the staging buffer.
///
///     gather:   kernels |k0|k1|k2|..           scatter:  copies   |c0|c1|c2|..
///               copies      |c0|c1|c2|..                 kernels      |k0|k1|k2|..
///
/// The parts of the buffer are taken in turn, and an event of each says when it is free again. Which stream a job ends
/// on depends on its method. A third stream tells of ends, for a callback holds up the stream that it is in.
///
/// Threads: one at a time, with the device current.
class lane {
public:
    lane(direction way, const cuda_options& options);

    /// Queues all of a job. impossible: what was asked for cannot be, and nothing was queued. What is said to be pinned
    /// is taken for it; of the rest, l1 knows.
    /// Throws system_error for what CUDA refuses; what was queued before is still running then.
    enum class outcome : std::uint8_t { queued, impossible };
    outcome queue(const transfer_job& job, transfer_method method, bool pinned);

    /// The stream that what was queued last ends on.
    [[nodiscard]] cudaStream_t last_stream() const noexcept { return last_; }
    [[nodiscard]] cudaStream_t kernels() const noexcept { return kernels_.get(); }
    [[nodiscard]] cudaStream_t copies() const noexcept { return copies_.get(); }

    /// Calls back, on a thread of the driver, when what was queued last has ended. Reports come in order.
    void report(cudaStreamCallback_t callback, void* data);

    void begin_after(cudaStream_t stream);
    void end_before(cudaStream_t stream);
    /// Until all has ended and has been reported.
    void synchronize() noexcept;
    /// The same, and what was not submitted never will be.
    void abandon() noexcept;

private:
    static constexpr std::size_t parts = 4;
    struct copy {
        void* to;
        const void* from;
        std::size_t bytes;
    };
    void queue_mapped(const transfer_job& job);
    outcome queue_staged(const transfer_job& job, bool pinned);
    void queue_copies(const transfer_job& job, bool pinned);
    void stage(planned_launch& planned, std::size_t part, bool pinned);
    void launch(const kernel_launch& l);
    void add_copies(std::byte* host, std::uintptr_t device, std::uint64_t bytes, bool pinned);
    void submit(const copy& c);
    void submit_copies();

    const direction way_;
    const std::shared_ptr<pinned_memory> l1_;
    const std::uint32_t blocks_;
    const std::uint64_t part_bytes_;
    bool host_addresses_ = true; // the device reaches registered memory by them; not under WSL2
    owned_stream kernels_;
    owned_stream copies_;
    owned_stream reports_;
    stream_event mark_; // who waits for it waits for what it marked at the time
    device_memory buffer_;
    std::array<stream_event, parts> filled_;
    std::array<stream_event, parts> emptied_;
    std::size_t next_part_ = 0;
    cudaStream_t last_ = nullptr;
    std::vector<copy> pending_; // not submitted yet
};

} // namespace terrace::cuda::detail
