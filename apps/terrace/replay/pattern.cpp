#include "replay/pattern.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace terrace::replay {
namespace {

constexpr std::size_t word_bytes = sizeof(std::uint64_t);
constexpr std::uint64_t golden = 0x9e3779b97f4a7c15U;

/// The finaliser of splitmix64 (Steele et al., OOPSLA 2014).
constexpr std::uint64_t mix(std::uint64_t x) noexcept
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

std::uint64_t mix_in(std::uint64_t seed, std::span<const std::byte> bytes) noexcept
{
    seed = mix(seed + bytes.size());
    for (std::size_t at = 0; at < bytes.size(); at += word_bytes) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + at, std::min(sizeof word, bytes.size() - at));
        seed = mix(seed + golden + word);
    }
    return seed;
}

/// All five parts of the key and the size. Not the key's own hash_code(), which goes by interned numbers and thus
/// differs between processes.
std::uint64_t seed_of(const object_key& key, std::size_t size) noexcept
{
    auto text = [](std::string_view s) { return std::as_bytes(std::span{s}); };
    std::uint64_t seed = mix(size);
    seed = mix_in(seed, key.hash().bytes());
    seed = mix_in(seed, text(key.model()));
    seed = mix_in(seed, text(key.cache_salt()));
    return mix(seed + (std::uint64_t{key.kv_rank()} << 16 | key.group()));
}

} // namespace

void fill_pattern(const object_key& key, std::span<std::byte> bytes) noexcept
{
    auto state = seed_of(key, bytes.size());
    for (; bytes.size() >= word_bytes; bytes = bytes.subspan(word_bytes)) {
        const auto word = mix(state += golden);
        std::memcpy(bytes.data(), &word, word_bytes);
    }
    const auto last = mix(state += golden);
    std::memcpy(bytes.data(), &last, bytes.size());
}

std::optional<std::size_t> find_mismatch(const object_key& key, std::span<const std::byte> bytes) noexcept
{
    auto state = seed_of(key, bytes.size());
    std::size_t at = 0;
    for (; bytes.size() - at >= word_bytes; at += word_bytes) {
        const auto word = mix(state += golden);
        if (std::memcmp(bytes.data() + at, &word, word_bytes) != 0)
            return at;
    }
    const auto last = mix(state += golden);
    if (std::memcmp(bytes.data() + at, &last, bytes.size() - at) != 0)
        return at;
    return std::nullopt;
}

} // namespace terrace::replay
