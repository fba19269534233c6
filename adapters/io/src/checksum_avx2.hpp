#pragma once

#include <cstddef>
#include <cstdint>

namespace terrace::io {

/// For processors with AVX2. Its source is compiled for those alone, so it includes no templates: the linker might take
/// its copies for everybody's.
[[nodiscard]] std::uint64_t checksum_avx2(const void* bytes, std::size_t size) noexcept;

} // namespace terrace::io
