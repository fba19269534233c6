#pragma once

#include "../../lib/cuda/src/kernel_launch.hpp"

#include <cuda_runtime_api.h>

namespace terrace::test {

/// What a kernel touched that it cannot reach.
struct illegal_address {};

/// Throws illegal_address unless kernels may touch these bytes. The stand-in for the runtime knows.
void require_reachable(const void* p, std::size_t bytes);

/// Runs all threads of a launch of kernels.cu, one after the other: what a GPU does at the same time must not depend on
/// each other. Throws illegal_address.
void run_kernel(const void* kernel, const dim3& grid, const dim3& block, const cuda::detail::kernel_launch& launch);

} // namespace terrace::test
