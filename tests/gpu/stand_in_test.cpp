// What no GPU does when it is asked to: the rehearsal's own.

#include "stand_in_runtime.hpp"
#include "support/paged_memory.hpp"

#include <algorithm>
#include <atomic>
#include <boost/system/system_error.hpp>
#include <cstring>
#include <doctest/doctest.h>
#include <future>
#include <optional>

#include <terrace/cuda/device.hpp>

using namespace terrace;
using namespace terrace::test;
using cuda::cuda_options;
using cuda::direction;
using cuda::transfer_method;

namespace {

/// Some pages and an object, and a backend that has its hands full with another job of the same direction.
struct busy_backend {
    explicit busy_backend(transfer_method method)
    {
        cuda_options options;
        options.method = method;
        options.staging_bytes = 16 << 10; // more than one part for each job
        backend = cuda::make_cuda_backend(options);
        pages.emplace(backend->allocate(2 * bytes));
    }
    ~busy_backend() { stand_in::work_only_when_waited_for(false); }

    /// The error that was reported, or that none was reported yet.
    std::optional<boost::system::error_code> start(direction way)
    {
        auto reported = std::make_shared<std::optional<boost::system::error_code>>();
        const cuda::page_layout layout{{2, 2, 16, 16, 1, 32, dtype::bf16},
                                       {cuda::axis::layer, cuda::axis::kv, cuda::axis::page, cuda::axis::token,
                                        cuda::axis::head, cuda::axis::element},
                                       {pages->address()}};
        backend->start({way, layout, objects, {0, 2}, {{object.get(), &chunk}}},
                       [this, reported](boost::system::error_code e) {
                           ++ends;
                           *reported = e;
                       });
        return *reported;
    }

    static constexpr std::size_t bytes = std::size_t{2} * 2 * 16 * 16 * 32 * 2;
    std::shared_ptr<cuda::cuda_backend> backend;
    std::optional<cuda::device_buffer> pages;
    const std::shared_ptr<std::byte> object = [] {
        void* p = nullptr;
        REQUIRE(cudaHostAlloc(&p, bytes, cudaHostAllocMapped) == cudaSuccess);
        return std::shared_ptr<std::byte>{static_cast<std::byte*>(p), [](std::byte* m) { (void)cudaFreeHost(m); }};
    }();
    const cuda::object_layout objects{16 * 8, cuda::object_order::token_major, 16};
    const cuda::paged_chunk chunk{{15, 13, 11, 9, 7, 5, 3, 1}};
    std::atomic<int> ends = 0;
};

} // namespace

TEST_CASE("gpu backend: a job that CUDA refuses half way is reported once, when nothing of it is running any more")
{
    constexpr std::array calls{"cudaLaunchKernel", "cudaMemcpyAsync",     "cudaMemcpyBatchAsync",
                               "cudaEventRecord",  "cudaStreamWaitEvent", "cudaStreamAddCallback"};
    int refused = 0;
    for (const auto method :
         {transfer_method::mapped_kernel, transfer_method::staged_kernel, transfer_method::copy_engine})
        for (const direction way : {direction::gather, direction::scatter})
            for (const char* call : calls)
                for (int nth = 1;; ++nth) {
                    CAPTURE(to_string(method));
                    CAPTURE(call);
                    CAPTURE(nth);
                    busy_backend b{method};
                    stand_in::work_only_when_waited_for(true);
                    (void)b.start(way);
                    stand_in::fail(call, nth);
                    const auto reported = b.start(way);
                    if (!reported) { // it does not call that so often
                        stand_in::forget_failures();
                        break;
                    }
                    ++refused;
                    CHECK(reported->value() == cudaErrorUnknown);
                    CHECK(stand_in::idle());
                    CHECK(b.ends == 2);
                    CHECK_FALSE(b.start(way)); // begins all the same
                    b.backend.reset();
                    CHECK(b.ends == 3);
                }
    CHECK(refused > 50);
}

TEST_CASE("gpu backend: of a job that was refused nothing is left to be copied with the next one")
{
    cuda_options options;
    options.method = transfer_method::copy_engine;
    options.l1 = std::make_shared<cuda::pinned_memory>();
    const auto backend = cuda::make_cuda_backend(options);
    constexpr std::size_t page = 16 * 64 * 2;
    constexpr std::size_t bytes = 2 * page;
    const auto memory = backend->allocate(2 * bytes);
    const cuda::page_layout layout{
        {1, 1, 4, 16, 1, 64, dtype::bf16},
        {cuda::axis::layer, cuda::axis::kv, cuda::axis::page, cuda::axis::token, cuda::axis::head, cuda::axis::element},
        {memory.address()}};
    const cuda::paged_chunk chunk{{3, 1}};
    const auto first = plain_memory(bytes);
    const auto second = plain_memory(bytes);
    std::memset(first.get(), 1, bytes);
    options.l1->attach({first.get(), page}); // the other half is copied for itself, and refused
    const auto gather = [&](std::byte* object) {
        std::promise<boost::system::error_code> end;
        backend->start({direction::gather, layout, cuda::object_layout{32}, {0, 1}, {{object, &chunk}}},
                       [&](boost::system::error_code e) { end.set_value(e); });
        return end.get_future().get();
    };
    stand_in::fail("cudaMemcpyAsync", 1);
    CHECK(gather(first.get()));
    CHECK_FALSE(gather(second.get()));
    CHECK(std::all_of(first.get(), first.get() + bytes, [](std::byte b) { return b == std::byte{1}; }));
    options.l1->detach({first.get(), page});
}

TEST_CASE("gpu backend: only a lack of memory keeps it from measuring, anything else from starting")
{
    constexpr int third = 3; // the lanes have their staging buffers then
    stand_in::fail("cudaMalloc", third, cudaErrorMemoryAllocation);
    CHECK(cuda::make_cuda_backend()->status().not_calibrated.starts_with("cudaMalloc"));
    stand_in::fail("cudaMalloc", third, cudaErrorUnknown);
    CHECK_THROWS_AS((void)cuda::make_cuda_backend(), boost::system::system_error);
    stand_in::fail("cudaHostRegister", 1, cudaErrorUnknown);
    CHECK_THROWS_AS((void)cuda::make_cuda_backend(), boost::system::system_error);
}

TEST_CASE("gpu backend: a device that the kernels were not compiled for is refused, and says so")
{
    cuda_options options;
    options.device = stand_in::without_code;
    CHECK_THROWS_WITH_AS((void)cuda::make_cuda_backend(options),
                         "no GPU here: this build has no code for compute capability 7.5 (TERRACE_CUDA_ARCHITECTURES)",
                         std::runtime_error);
}
