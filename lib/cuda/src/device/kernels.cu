// The kernels that copy. Plain C++: neither Asio's coroutines nor fmt compile here, and the host's compiler takes it as
// well, for the rehearsal. That is why there is no <<<>>>.

#include "kernels.hpp"

namespace terrace::cuda::detail {
namespace {

// A thread has this many units on their way at a time: what one bus round trip of a microsecond or more can be filled
// with by few threads. More of them cost registers.
constexpr std::uint32_t in_flight = 4;

template <class Unit, bool gather>
__global__ void __launch_bounds__(kernel_threads) move_units(const __grid_constant__ kernel_launch l)
{
    const kernel_slice& s = l.slice[blockIdx.y];
    const std::uint32_t units = units_of(l, s);
    const std::uint32_t threads = gridDim.x * blockDim.x;
    // units < 2^31, and so many threads more are still less than 2^32.
    for (std::uint32_t u = blockIdx.x * blockDim.x + threadIdx.x; u < units; u += in_flight * threads) {
        Unit value[in_flight];
        Unit* to[in_flight];
#pragma unroll
        for (std::uint32_t i = 0; i < in_flight; ++i) {
            if (u + i * threads < units) {
                const unit_place at = locate(l, s, u + i * threads);
                auto* const device = reinterpret_cast<Unit*>(at.device);
                auto* const object = reinterpret_cast<Unit*>(s.object + at.object);
                to[i] = gather ? object : device;
                value[i] = __ldcs(gather ? device : object); // nobody reads it again soon
            }
        }
#pragma unroll
        for (std::uint32_t i = 0; i < in_flight; ++i)
            if (u + i * threads < units)
                __stcs(to[i], value[i]);
    }
}

template <class Unit, bool gather>
cudaError_t start(const kernel_launch& l, const dim3& grid, cudaStream_t stream)
{
    void* arguments[] = {const_cast<kernel_launch*>(&l)}; // CUDA copies it
    return cudaLaunchKernel(reinterpret_cast<const void*>(&move_units<Unit, gather>), grid, dim3(kernel_threads),
                            arguments, 0, stream);
}

template <bool gather>
cudaError_t launch(const kernel_launch& l, std::uint32_t blocks, cudaStream_t stream)
{
    std::uint32_t most_units = 0;
    for (std::uint32_t i = 0; i < l.slices; ++i)
        most_units = units_of(l, l.slice[i]) > most_units ? units_of(l, l.slice[i]) : most_units;
    const std::uint32_t useful = (most_units - 1) / (kernel_threads * in_flight) + 1;
    const std::uint32_t share = blocks / l.slices > 0 ? blocks / l.slices : 1;
    const dim3 grid(share < useful ? share : useful, l.slices);
    switch (l.unit_bytes) {
    case 16:
        return start<uint4, gather>(l, grid, stream);
    case 8:
        return start<uint2, gather>(l, grid, stream);
    case 4:
        return start<std::uint32_t, gather>(l, grid, stream);
    case 2:
        return start<std::uint16_t, gather>(l, grid, stream);
    default:
        return start<std::uint8_t, gather>(l, grid, stream);
    }
}

template <bool gather>
cudaError_t load()
{
    const void* const kernels[] = {reinterpret_cast<const void*>(&move_units<uint4, gather>),
                                   reinterpret_cast<const void*>(&move_units<uint2, gather>),
                                   reinterpret_cast<const void*>(&move_units<std::uint32_t, gather>),
                                   reinterpret_cast<const void*>(&move_units<std::uint16_t, gather>),
                                   reinterpret_cast<const void*>(&move_units<std::uint8_t, gather>)};
    for (const void* kernel : kernels) {
        cudaFuncAttributes attributes;
        const cudaError_t e = cudaFuncGetAttributes(&attributes, kernel);
        if (e != cudaSuccess)
            return e;
    }
    return cudaSuccess;
}

} // namespace

cudaError_t launch_gather(const kernel_launch& l, std::uint32_t blocks, cudaStream_t stream)
{
    return launch<true>(l, blocks, stream);
}

cudaError_t launch_scatter(const kernel_launch& l, std::uint32_t blocks, cudaStream_t stream)
{
    return launch<false>(l, blocks, stream);
}

cudaError_t load_kernels()
{
    const cudaError_t e = load<true>();
    return e != cudaSuccess ? e : load<false>();
}

} // namespace terrace::cuda::detail
