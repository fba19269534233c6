#pragma once

#include "kernel_launch.hpp"

#include <cstdint>
#include <vector>

#include <terrace/cuda/transfer_backend.hpp>

namespace terrace::cuda::detail {

/// Bytes of an object that are next to each other, and their place in the staging buffer.
struct staged_copy {
    std::byte* object = nullptr; ///< where they are in L1
    std::uint64_t staged = 0;    ///< offset in the buffer
    std::uint64_t bytes = 0;
};

/// One launch of a kernel. Its slices' `object` is the address in L1; staged, an offset to be added to the buffer's
/// address, modulo 2^64.
struct planned_launch {
    kernel_launch launch{};
    std::vector<staged_copy> copies; ///< staged only
    std::uint64_t staging_bytes = 0; ///< how much of the buffer it takes
};

/// Cuts a job into launches that read and write L1 itself.
[[nodiscard]] std::vector<planned_launch> plan_mapped(const transfer_job& job);

/// Cuts a job into launches that read and write a buffer of buffer_bytes. Empty: one layer of some object, or of one of
/// its groups, is larger than that.
[[nodiscard]] std::vector<planned_launch> plan_staged(const transfer_job& job, std::uint64_t buffer_bytes);

} // namespace terrace::cuda::detail
