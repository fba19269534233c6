#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace terrace::io {

/// XXH3, 64 bits, seed 0: the checksum of stored bytes. With AVX2, where the processor has it, it takes half the time.
[[nodiscard]] std::uint64_t checksum(std::span<const std::byte> bytes) noexcept;
/// The same of bytes that come in pieces, until an empty one.
[[nodiscard]] std::uint64_t checksum(const std::function<std::span<const std::byte>()>& next_piece);

} // namespace terrace::io
