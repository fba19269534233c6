#pragma once

#include "../kernel_launch.hpp"

#include <cuda_runtime_api.h>

namespace terrace::cuda::detail {

constexpr std::uint32_t kernel_threads = 512; // in a block

/// Pages into objects, or into a buffer in their place; or the other way. Every slice gets its share of `blocks`, and
/// one at least.
cudaError_t launch_gather(const kernel_launch& launch, std::uint32_t blocks, cudaStream_t stream);
cudaError_t launch_scatter(const kernel_launch& launch, std::uint32_t blocks, cudaStream_t stream);

/// Loads all of them for the current device, which otherwise each does at its first launch: that can take long, and can
/// wait for what the device is doing. cudaErrorNoKernelImageForDevice: they were not compiled for it.
cudaError_t load_kernels();

} // namespace terrace::cuda::detail
