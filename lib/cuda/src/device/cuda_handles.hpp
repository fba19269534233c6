#pragma once

#include "device_scope.hpp"

#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>
#include <cuda_runtime_api.h>
#include <memory>

namespace terrace::cuda::detail {

/// The category "cuda" of cudaError_t values.
[[nodiscard]] const boost::system::error_category& cuda_category() noexcept;

[[nodiscard]] inline boost::system::error_code error_of(cudaError_t e) noexcept
{
    return {static_cast<int>(e), cuda_category()};
}

/// Throws boost::system::system_error, a std::runtime_error, unless the call succeeded. `what` names it.
inline void check(cudaError_t e, const char* what)
{
    if (e != cudaSuccess) {
        (void)cudaGetLastError(); // or the next launch would be blamed for it
        throw boost::system::system_error{error_of(e), what};
    }
}

struct destroy_stream {
    void operator()(cudaStream_t s) const noexcept { (void)cudaStreamDestroy(s); }
};
struct destroy_event {
    void operator()(cudaEvent_t e) const noexcept { (void)cudaEventDestroy(e); }
};
struct free_device {
    int device;
    void operator()(void* p) const noexcept
    {
        const device_scope scope{device, std::nothrow}; // whoever has the last copy, in whatever thread
        (void)cudaFree(p);
    }
};
constexpr std::align_val_t registered_alignment{4096};
struct free_registered {
    void operator()(std::byte* p) const noexcept
    {
        (void)cudaHostUnregister(p); // or it never was, for an error
        ::operator delete(p, registered_alignment);
    }
};
using owned_stream = std::unique_ptr<CUstream_st, destroy_stream>;
using stream_event = std::unique_ptr<CUevent_st, destroy_event>;
using device_memory = std::unique_ptr<void, free_device>;
using registered_memory = std::unique_ptr<std::byte, free_registered>;

/// Both on the current device, which has to be current when they are destroyed.
/// Streams come first where multiprocessors are short: a few small blocks need not wait for all of a model's.
[[nodiscard]] inline owned_stream make_stream()
{
    int least = 0;
    int greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
    cudaStream_t s = nullptr;
    check(cudaStreamCreateWithPriority(&s, cudaStreamNonBlocking, greatest), "cudaStreamCreateWithPriority");
    return owned_stream{s};
}
[[nodiscard]] inline stream_event make_event(unsigned flags = cudaEventDisableTiming)
{
    cudaEvent_t e = nullptr;
    check(cudaEventCreateWithFlags(&e, flags), "cudaEventCreate");
    return stream_event{e};
}
[[nodiscard]] inline device_memory allocate_device(int device, std::size_t bytes)
{
    const device_scope scope{device};
    void* p = nullptr;
    check(cudaMalloc(&p, bytes), "cudaMalloc");
    return {p, free_device{device}};
}
/// Of the host, and registered, as L1's slices are.
[[nodiscard]] inline registered_memory allocate_registered(std::size_t bytes)
{
    registered_memory memory{static_cast<std::byte*>(::operator new(bytes, registered_alignment))};
    check(cudaHostRegister(memory.get(), bytes, cudaHostRegisterPortable | cudaHostRegisterMapped), "cudaHostRegister");
    return memory;
}

} // namespace terrace::cuda::detail
