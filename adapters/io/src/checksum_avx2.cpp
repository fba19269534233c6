#include "checksum_avx2.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace terrace::io {

std::uint64_t checksum_avx2(const void* bytes, std::size_t size) noexcept
{
    return XXH3_64bits(bytes, size);
}

} // namespace terrace::io
