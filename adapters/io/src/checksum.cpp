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

std::uint64_t checksum(const std::function<std::span<const std::byte>()>& next_piece)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    (void)XXH3_64bits_reset(&state);
    for (auto piece = next_piece(); !piece.empty(); piece = next_piece())
        (void)XXH3_64bits_update(&state, piece.data(), piece.size());
    return XXH3_64bits_digest(&state);
}

} // namespace terrace::io
