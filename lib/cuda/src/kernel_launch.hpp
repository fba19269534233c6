#pragma once

#include <cstddef>
#include <cstdint>

// What one launch of the copying kernels is told, and how a thread finds its bytes by it. Compiled for the device and
// for the host, where tests go through the same arithmetic. Nothing else of ours reaches a .cu file.

#ifdef __CUDACC__
#define TERRACE_HOST_DEVICE __host__ __device__
#else
#define TERRACE_HOST_DEVICE
#endif

namespace terrace::cuda::detail {

/// Some tokens of one object.
struct kernel_slice {
    std::uint64_t object;      ///< the address, for the device, of the object's first byte
    std::uint32_t first_token; ///< of the object
    std::uint32_t tokens;
    std::uint32_t first_slot; ///< of the first page
    std::uint32_t first_page; ///< index in page_ids
};

/// All that a launch needs, passed by value: nothing has to be on the device before, or stay there after.
///
/// A unit is what one thread moves at a time, 1 to 16 bytes that lie together on either side.
struct kernel_launch {
    static constexpr std::uint32_t max_planes = 160;
    static constexpr std::uint32_t max_slices = 8;
    static constexpr std::uint32_t max_pages = 512;
    static constexpr std::uint32_t max_units = 1U << 31; ///< of a slice; a thread steps past the last one in 32 bits

    std::uint32_t slices;
    std::uint32_t first_plane; ///< of the object
    std::uint32_t planes;
    std::uint32_t unit_bytes;
    std::uint32_t units; ///< in a head; with all heads together, `heads` is 1
    std::uint32_t heads;
    std::uint32_t page_tokens;
    std::uint32_t group_tokens;
    std::uint32_t head_major; ///< 1: heads are outside of tokens in the object

    std::uint64_t page_stride, token_stride, head_stride, unit_stride; ///< of the device, in bytes
    std::uint64_t object_group_stride, object_plane_stride, object_token_stride, object_head_stride;

    std::uint64_t plane[max_planes]; ///< addresses of page 0
    kernel_slice slice[max_slices];
    std::uint32_t page_ids[max_pages];
};
static_assert(sizeof(kernel_launch) <= 4096, "what a kernel's parameters may take everywhere");

struct unit_place {
    std::uint64_t device; ///< address
    std::uint64_t object; ///< offset in the object
};

TERRACE_HOST_DEVICE inline std::uint32_t units_of(const kernel_launch& l, const kernel_slice& s)
{
    return l.planes * s.tokens * l.heads * l.units;
}

/// Where unit u of a slice is, in order of the object.
TERRACE_HOST_DEVICE inline unit_place locate(const kernel_launch& l, const kernel_slice& s, std::uint32_t u)
{
    const std::uint32_t unit = u % l.units;
    u /= l.units;
    std::uint32_t head, t, plane;
    if (l.head_major != 0) {
        t = u % s.tokens;
        u /= s.tokens;
        head = u % l.heads;
        plane = u / l.heads;
    } else {
        head = u % l.heads;
        u /= l.heads;
        t = u % s.tokens;
        plane = u / s.tokens;
    }
    const std::uint32_t position = s.first_slot + t;
    const std::uint64_t page = l.page_ids[s.first_page + position / l.page_tokens];
    const std::uint64_t slot = position % l.page_tokens;
    const std::uint64_t group = (s.first_token + t) / l.group_tokens;
    const std::uint64_t in_group = (s.first_token + t) % l.group_tokens;
    return {l.plane[plane] + page * l.page_stride + slot * l.token_stride + head * l.head_stride + unit * l.unit_stride,
            group * l.object_group_stride + std::uint64_t{l.first_plane + plane} * l.object_plane_stride +
                in_group * l.object_token_stride + head * l.object_head_stride + unit * l.unit_bytes};
}

} // namespace terrace::cuda::detail
