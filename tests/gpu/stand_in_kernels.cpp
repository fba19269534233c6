// The kernels themselves, compiled for the host: what CUDA C++ adds to C++ is a few names.

#include "stand_in_kernels.hpp"

#include <cstring>

#undef __global__
#undef __grid_constant__
#undef __launch_bounds__
#define __global__
#define __grid_constant__
#define __launch_bounds__(...)

namespace {

thread_local uint3 threadIdx;
thread_local uint3 blockIdx;
thread_local dim3 blockDim;
thread_local dim3 gridDim;

/// Aligned, as on a device, and reachable.
template <class T>
T __ldcs(const T* from)
{
    if (reinterpret_cast<std::uintptr_t>(from) % sizeof(T) != 0)
        throw terrace::test::illegal_address{};
    terrace::test::require_reachable(from, sizeof(T));
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
}

template <class T>
void __stcs(T* to, const T& value)
{
    if (reinterpret_cast<std::uintptr_t>(to) % sizeof(T) != 0)
        throw terrace::test::illegal_address{};
    terrace::test::require_reachable(to, sizeof(T));
    std::memcpy(to, &value, sizeof(T));
}

} // namespace

#include "../../lib/cuda/src/device/kernels.cu"

void terrace::test::run_kernel(const void* kernel, const dim3& grid, const dim3& block,
                               const cuda::detail::kernel_launch& launch)
{
    const auto body = reinterpret_cast<void (*)(cuda::detail::kernel_launch)>(reinterpret_cast<std::uintptr_t>(kernel));
    gridDim = grid;
    blockDim = block;
    // Backwards, for a GPU promises no order.
    for (blockIdx.y = grid.y; blockIdx.y-- > 0;)
        for (blockIdx.x = grid.x; blockIdx.x-- > 0;)
            for (threadIdx.x = block.x; threadIdx.x-- > 0;)
                body(launch);
}
