#include <terrace/io/checksum.hpp>

#include "checksum_avx2.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace terrace::io {

std::uint64_t checksum(std::span<const std::byte> bytes) noexcept
{
#if TERRACE_HAS_AVX2
    static const bool wide = __builtin_cpu_supports("avx2");
    if (wide)
        return checksum_avx2(bytes.data(), bytes.size());
#endif
    return XXH3_64bits(bytes.data(), bytes.size());
}

} // namespace terrace::io
