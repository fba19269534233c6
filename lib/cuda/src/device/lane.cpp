#include "lane.hpp"

#include "kernels.hpp"

#include <algorithm>
#include <utility>

namespace terrace::cuda::detail {
namespace {

constexpr std::size_t batch_copies = 4096; // in one call: bounds the arrays, and how long a call takes

[[nodiscard]] void* pointer(std::uintptr_t address)
{
    return reinterpret_cast<void*>(address);
}

} // namespace

lane::lane(direction way, const cuda_options& options)
    : way_{way},
      l1_{options.l1},
      blocks_{options.kernel_blocks},
      part_bytes_{options.staging_bytes / parts},
      kernels_{make_stream()},
      copies_{make_stream()},
      reports_{make_stream()},
      mark_{make_event()},
      buffer_{nullptr, free_device{options.device}},
      last_{copies_.get()}
{
    int same = 0;
    check(cudaDeviceGetAttribute(&same, cudaDevAttrCanUseHostPointerForRegisteredMem, options.device),
          "cudaDeviceGetAttribute");
    host_addresses_ = same != 0;
    if (part_bytes_ != 0)
        buffer_ = allocate_device(options.device, options.staging_bytes);
    for (std::size_t i = 0; i < parts; ++i) {
        filled_[i] = make_event();
        emptied_[i] = make_event();
    }
}

lane::outcome lane::queue(const transfer_job& job, transfer_method method, bool pinned)
{
    switch (method) {
    case transfer_method::mapped_kernel:
        if (!pinned || !host_addresses_)
            return outcome::impossible;
        queue_mapped(job);
        return outcome::queued;
    case transfer_method::staged_kernel:
        return queue_staged(job, pinned);
    case transfer_method::copy_engine:
        queue_copies(job, pinned);
        return outcome::queued;
    }
    return outcome::impossible;
}

void lane::launch(const kernel_launch& l)
{
    if (way_ == direction::gather)
        check(launch_gather(l, blocks_, kernels_.get()), "gather kernel");
    else
        check(launch_scatter(l, blocks_, kernels_.get()), "scatter kernel");
}

void lane::queue_mapped(const transfer_job& job)
{
    last_ = kernels_.get();
    for (const planned_launch& planned : plan_mapped(job))
        launch(planned.launch);
}

lane::outcome lane::queue_staged(const transfer_job& job, bool pinned)
{
    auto all = part_bytes_ == 0 ? std::vector<planned_launch>{} : plan_staged(job, part_bytes_);
    if (all.empty())
        return outcome::impossible;
    last_ = way_ == direction::gather ? copies_.get() : kernels_.get();
    for (planned_launch& planned : all) {
        stage(planned, next_part_, pinned);
        next_part_ = (next_part_ + 1) % parts;
    }
    return outcome::queued;
}

void lane::stage(planned_launch& planned, std::size_t part, bool pinned)
{
    const auto buffer = reinterpret_cast<std::uintptr_t>(buffer_.get()) + part * part_bytes_;
    for (std::uint32_t i = 0; i < planned.launch.slices; ++i)
        planned.launch.slice[i].object += buffer;
    const auto copy_all = [&] {
        for (const staged_copy& c : planned.copies)
            add_copies(c.object, buffer + c.staged, c.bytes, pinned);
        submit_copies();
    };
    cudaStream_t const first = way_ == direction::gather ? kernels_.get() : copies_.get();
    cudaStream_t const second = way_ == direction::gather ? copies_.get() : kernels_.get();
    check(cudaStreamWaitEvent(first, emptied_[part].get(), 0), "cudaStreamWaitEvent");
    if (way_ == direction::gather)
        launch(planned.launch);
    else
        copy_all();
    check(cudaEventRecord(filled_[part].get(), first), "cudaEventRecord");
    check(cudaStreamWaitEvent(second, filled_[part].get(), 0), "cudaStreamWaitEvent");
    if (way_ == direction::gather)
        copy_all();
    else
        launch(planned.launch);
    check(cudaEventRecord(emptied_[part].get(), second), "cudaEventRecord");
}

void lane::queue_copies(const transfer_job& job, bool pinned)
{
    last_ = copies_.get();
    for (const transfer_job::item& item : job.items)
        for (const copy_run& run : runs(job.pages, job.objects, *item.chunk, job.layers))
            add_copies(item.object + run.offset, run.device, run.bytes, pinned);
    submit_copies();
}

void lane::add_copies(std::byte* host, std::uintptr_t device, std::uint64_t bytes, bool pinned)
{
    while (bytes > 0) {
        const std::size_t n = l1_ ? l1_->in_one_slice({host, bytes}) : bytes;
        const copy c = way_ == direction::gather ? copy{host, pointer(device), n} : copy{pointer(device), host, n};
        // What is not pinned is no batch's: nothing says that it may be.
        if (pinned || l1_->is_pinned({host, n}))
            pending_.push_back(c);
        else
            submit(c);
        if (pending_.size() == batch_copies)
            submit_copies();
        host += n;
        device += n;
        bytes -= n;
    }
}

void lane::submit(const copy& c)
{
    const cudaMemcpyKind kind = way_ == direction::gather ? cudaMemcpyDeviceToHost : cudaMemcpyHostToDevice;
    check(cudaMemcpyAsync(c.to, c.from, c.bytes, kind, copies_.get()), "cudaMemcpyAsync");
}

void lane::submit_copies()
{
    const auto all = std::exchange(pending_, {});
#if CUDART_VERSION >= 12080
    // The driver must have it as well: it may be older than the toolkit.
    static const bool driver_has_batches = [] {
        int version = 0;
        return cudaDriverGetVersion(&version) == cudaSuccess && version >= 12080;
    }();
    if (driver_has_batches && host_addresses_ && all.size() > 1) {
        std::vector<void*> to;
        std::vector<void*> from;
        std::vector<std::size_t> sizes;
        for (const copy& c : all) {
            to.push_back(c.to);
            from.push_back(const_cast<void*>(c.from));
            sizes.push_back(c.bytes);
        }
        cudaMemcpyAttributes attributes{};
        attributes.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
        attributes.flags = cudaMemcpyFlagPreferOverlapWithCompute;
        std::size_t first = 0; // that the attributes are for: all
#if CUDART_VERSION >= 13000
        check(cudaMemcpyBatchAsync(to.data(), from.data(), sizes.data(), all.size(), &attributes, &first, 1,
                                   copies_.get()),
              "cudaMemcpyBatchAsync");
#else
        std::size_t failed = 0;
        check(cudaMemcpyBatchAsync(to.data(), from.data(), sizes.data(), all.size(), &attributes, &first, 1, &failed,
                                   copies_.get()),
              "cudaMemcpyBatchAsync");
#endif
        return;
    }
#endif
    for (const copy& c : all)
        submit(c);
}

void lane::report(cudaStreamCallback_t callback, void* data)
{
    check(cudaEventRecord(mark_.get(), last_), "cudaEventRecord");
    check(cudaStreamWaitEvent(reports_.get(), mark_.get(), 0), "cudaStreamWaitEvent");
    check(cudaStreamAddCallback(reports_.get(), callback, data, 0), "cudaStreamAddCallback");
}

void lane::begin_after(cudaStream_t stream)
{
    check(cudaEventRecord(mark_.get(), stream), "cudaEventRecord");
    for (cudaStream_t ours : {kernels_.get(), copies_.get()})
        check(cudaStreamWaitEvent(ours, mark_.get(), 0), "cudaStreamWaitEvent");
}

void lane::end_before(cudaStream_t stream)
{
    for (cudaStream_t ours : {kernels_.get(), copies_.get()}) {
        check(cudaEventRecord(mark_.get(), ours), "cudaEventRecord");
        check(cudaStreamWaitEvent(stream, mark_.get(), 0), "cudaStreamWaitEvent");
    }
}

void lane::synchronize() noexcept
{
    for (cudaStream_t ours : {kernels_.get(), copies_.get(), reports_.get()})
        (void)cudaStreamSynchronize(ours);
}

void lane::abandon() noexcept
{
    pending_.clear();
    synchronize();
}

} // namespace terrace::cuda::detail
