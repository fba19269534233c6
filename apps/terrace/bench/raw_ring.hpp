#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace terrace::bench {

/// One call: so many bytes at an offset of a file that is open.
struct raw_call {
    int fd;
    std::uint64_t offset;
    std::span<std::byte> memory;
};

enum class raw_direction : std::uint8_t { read, write };

/// Makes all calls through an io_uring that does nothing else, `depth` of them at a time, in this thread. Throws
/// std::system_error if one fails or is cut short.
void make_by_ring(raw_direction way, std::span<const raw_call> calls, std::size_t depth);

/// Whether make_by_ring() can work here: it was built with liburing, and the kernel lets it.
[[nodiscard]] bool ring_is_possible();

} // namespace terrace::bench
