#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>

namespace terrace::test {

/// Keeps multiprocessors busy with arithmetic that touches no memory: many short blocks, as a model's kernels have
/// them. 8 of them fill a multiprocessor.
cudaError_t launch_load(std::uint32_t blocks, cudaStream_t stream);

} // namespace terrace::test
