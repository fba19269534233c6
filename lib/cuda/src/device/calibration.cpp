#include "calibration.hpp"

#include <algorithm>
#include <optional>

namespace terrace::cuda::detail {
namespace {

constexpr std::uint64_t largest_job = 16 << 20;

/// A job of one object: pages in falling order, so that no two neighbours become one run.
class trial {
public:
    trial(direction way, std::uint64_t run_bytes, std::uint64_t job_bytes, void* pages, void* object)
        : shape_{.layers = 1,
                 .kv = 1,
                 .pages = static_cast<std::uint32_t>(job_bytes / run_bytes),
                 .page_tokens = 16,
                 .heads = 1,
                 .head_dim = static_cast<std::uint32_t>(run_bytes / (16 * 2)),
                 .type = dtype::bf16},
          chunk_{falling(shape_.pages)},
          job_{way,
               page_layout{shape_,
                           {axis::layer, axis::kv, axis::page, axis::token, axis::head, axis::element},
                           {reinterpret_cast<device_address>(pages)}},
               object_layout{shape_.pages * shape_.page_tokens, object_order::token_major, shape_.page_tokens},
               {0, 1},
               {{static_cast<std::byte*>(object), &chunk_}}}
    {
    }
    trial(const trial&) = delete;
    trial& operator=(const trial&) = delete;

    [[nodiscard]] std::optional<double> seconds(lane& l, transfer_method method)
    {
        std::optional<double> best;
        for (int attempt = 0; attempt < 4; ++attempt) { // the first one warms up
            const auto took = once(l, method);
            if (took && attempt > 0)
                best = std::min(best.value_or(*took), *took);
        }
        return best;
    }

private:
    [[nodiscard]] static std::vector<std::uint32_t> falling(std::uint32_t pages)
    {
        std::vector<std::uint32_t> ids(pages);
        for (std::uint32_t i = 0; i < pages; ++i)
            ids[i] = pages - 1 - i;
        return ids;
    }

    [[nodiscard]] std::optional<double> once(lane& l, transfer_method method)
    {
        l.synchronize();
        check(cudaEventRecord(begin_.get(), l.kernels()), "cudaEventRecord"); // it is idle: this is now
        if (l.queue(job_, method, true) == lane::outcome::impossible)
            return {};
        check(cudaEventRecord(end_.get(), l.last_stream()), "cudaEventRecord");
        check(cudaEventSynchronize(end_.get()), "cudaEventSynchronize");
        float ms = 0;
        check(cudaEventElapsedTime(&ms, begin_.get(), end_.get()), "cudaEventElapsedTime");
        return std::max(static_cast<double>(ms), 1e-3) / 1000;
    }

    const page_shape shape_;
    const paged_chunk chunk_;
    const transfer_job job_;
    const stream_event begin_ = make_event(cudaEventDefault);
    const stream_event end_ = make_event(cudaEventDefault);
};

} // namespace

std::vector<method_sample> calibrate(int device, lane& gather, lane& scatter)
{
    const device_memory pages = allocate_device(device, largest_job);
    const pinned_host_memory object = allocate_pinned(largest_job);
    check(cudaMemset(pages.get(), 1, largest_job), "cudaMemset");
    std::vector<method_sample> samples;
    for (const direction way : {direction::gather, direction::scatter})
        for (const std::uint64_t run : {std::uint64_t{4} << 10, std::uint64_t{32} << 10, std::uint64_t{256} << 10})
            for (const std::uint64_t job : {std::uint64_t{256} << 10, std::uint64_t{2} << 20, largest_job}) {
                trial t{way, run, job, pages.get(), object.get()};
                for (const auto method :
                     {transfer_method::mapped_kernel, transfer_method::staged_kernel, transfer_method::copy_engine})
                    if (const auto s = t.seconds(way == direction::gather ? gather : scatter, method))
                        samples.push_back({way, method, run, job, *s});
            }
    return samples;
}

} // namespace terrace::cuda::detail
