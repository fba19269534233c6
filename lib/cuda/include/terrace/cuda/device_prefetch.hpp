#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/cuda/transfer_engine.hpp>
#include <terrace/prefetch.hpp>

namespace terrace::cuda {

/// What a prefetch brought to the device.
class device_prefetch_result {
public:
    device_prefetch_result() = default;

    prefetch_result prefetched; ///< as of any prefetch
    std::size_t scattered = 0;  ///< leading chunks that are on the device now
};

/// Scatters a prefetch's objects window by window, as they land in L1: the head is on the device while the tail still
/// loads. Only leading objects that are there without a gap are scattered.
///
/// prefetch  of one key group; used up
/// chunks    chunk i is for key i; keys without one are not scattered
/// window    objects that are waited for, and scattered, together; >= 1. Each window locks the objects before it anew
///           for a moment: 4 and more keep that cheap for prompts of a thousand chunks.
///
/// Errors     as transfer_engine::scatter() and prefetch_handle::wait(); a window of 0 throws std::invalid_argument
/// Cancelled  operation_aborted, when the device has let go of the memory; the prefetch is cancelled
/// Lifetime   the engine outlives the call
/// Threads    the transfer engine's executor
TERRACE_API asio::awaitable<device_prefetch_result> scatter_prefetch(transfer_engine& engine, prefetch_handle prefetch,
                                                                     page_layout pages, object_layout objects,
                                                                     std::vector<paged_chunk> chunks,
                                                                     std::size_t window = 4);

} // namespace terrace::cuda
