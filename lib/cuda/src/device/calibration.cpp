#include "calibration.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace terrace::cuda::detail {
namespace {

constexpr std::uint64_t kib = 1 << 10;
constexpr std::uint64_t mib = 1 << 20;
// Copy engines are worth their while from some tens of KiB on: that is where the steps are small.
constexpr std::array run_sizes{4 * kib, 16 * kib, 32 * kib, 64 * kib, 256 * kib};
constexpr std::array job_sizes{256 * kib, 2 * mib, 16 * mib};
constexpr std::array all_methods{transfer_method::mapped_kernel, transfer_method::staged_kernel,
                                 transfer_method::copy_engine};
constexpr int jobs_at_a_time = 4; // as a transfer engine has them. A job of the smallest size often comes alone

/// A job of one object: pages in falling order, so that no two neighbours become one run.
class trial {
public:
    trial(direction way, std::uint64_t run_bytes, std::uint64_t job_bytes, void* pages, std::byte* object)
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
               {{object, &chunk_}}}
    {
    }
    trial(const trial&) = delete;
    trial& operator=(const trial&) = delete;

    /// Of one of so many jobs, back to back.
    [[nodiscard]] std::optional<double> seconds(lane& l, transfer_method method, int jobs)
    {
        std::optional<double> best;
        for (int attempt = 0; attempt < 4; ++attempt) { // the first one warms up
            const auto took = once(l, method, jobs);
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

    [[nodiscard]] std::optional<double> once(lane& l, transfer_method method, int jobs)
    {
        l.synchronize();
        check(cudaEventRecord(begin_.get(), l.kernels()), "cudaEventRecord"); // it is idle: this is now
        for (int i = 0; i < jobs; ++i)
            if (l.queue(job_, method, true) == lane::outcome::impossible)
                return {};
        check(cudaEventRecord(end_.get(), l.last_stream()), "cudaEventRecord");
        check(cudaEventSynchronize(end_.get()), "cudaEventSynchronize");
        float ms = 0;
        check(cudaEventElapsedTime(&ms, begin_.get(), end_.get()), "cudaEventElapsedTime");
        return std::max(static_cast<double>(ms), 1e-3) / 1000 / jobs;
    }

    const page_shape shape_;
    const paged_chunk chunk_;
    const transfer_job job_;
    const stream_event begin_ = make_event(cudaEventDefault);
    const stream_event end_ = make_event(cudaEventDefault);
};

/// Whatever ends it, no copy may be on its way to memory that goes.
struct idle_at_the_end {
    lane& gather;
    lane& scatter;
    ~idle_at_the_end()
    {
        gather.synchronize();
        scatter.synchronize();
    }
};

} // namespace

std::vector<method_sample> calibrate(int device, lane& gather, lane& scatter)
{
    const device_memory pages = allocate_device(device, job_sizes.back());
    const registered_memory object = allocate_registered(job_sizes.back());
    check(cudaMemset(pages.get(), 1, job_sizes.back()), "cudaMemset");
    std::memset(object.get(), 1, job_sizes.back());
    const idle_at_the_end guard{gather, scatter};
    std::vector<method_sample> samples;
    for (const direction way : {direction::gather, direction::scatter})
        for (const std::uint64_t run : run_sizes)
            for (const std::uint64_t job : job_sizes) {
                trial t{way, run, job, pages.get(), object.get()};
                lane& l = way == direction::gather ? gather : scatter;
                const int jobs = job == job_sizes.front() ? 1 : jobs_at_a_time;
                for (const auto method : all_methods)
                    if (const auto s = t.seconds(l, method, jobs))
                        samples.push_back({way, method, run, job, *s});
            }
    return samples;
}

} // namespace terrace::cuda::detail
