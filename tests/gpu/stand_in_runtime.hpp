#pragma once

#include <cuda_runtime_api.h>
#include <string>

/// What the stand-in for the CUDA runtime can be told. See its source.
namespace terrace::test::stand_in {

constexpr int devices = 3;
constexpr int own_addresses = 1; ///< a kernel of this one does not reach registered memory by the host's address
constexpr int without_code = 2;  ///< no kernel of ours was compiled for this one

/// The nth call of that name from now on, 1 for the next, is refused.
void fail(const std::string& call, int nth, cudaError_t error = cudaErrorUnknown);
void forget_failures(); ///< that were to come

/// Nothing that is queued begins unless some thread waits for a stream, an event or the device.
void work_only_when_waited_for(bool lazy);

/// Whether no stream has anything to do.
[[nodiscard]] bool idle();

} // namespace terrace::test::stand_in
