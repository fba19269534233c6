#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/object_key.hpp>

namespace terrace {

/// Turns a prompt's tokens into the chained hashes of its chunks: equal hashes mean equal chunks after equal prefixes.
///
///     hash[0] = SHA-256(seed,      tokens of chunk 0)
///     hash[i] = SHA-256(hash[i-1], tokens of chunk i)      tokens as 32-bit little-endian words
///
/// The seed is a constant, so hashes agree between processes, hosts and restarts. SHA-256, because whoever can make two
/// prompts collide can read another's cache. Source of the chaining: PagedAttention's block hashes (vLLM).
///
/// Threads: immutable; any thread.
class TERRACE_API token_hasher {
public:
    using token = std::uint32_t;

    /// chunk_tokens  tokens in a chunk, >= 1; throws std::invalid_argument otherwise
    explicit token_hasher(std::uint32_t chunk_tokens = 256);

    [[nodiscard]] std::uint32_t chunk_tokens() const noexcept { return chunk_tokens_; }

    /// One hash per full chunk; a last chunk that is not full has none.
    [[nodiscard]] std::vector<chunk_hash> hashes(std::span<const token> tokens) const;

    /// One key per full chunk. The other arguments, and what they throw, are object_key's.
    [[nodiscard]] std::vector<object_key> keys(std::span<const token> tokens, std::string_view model,
                                               std::uint32_t kv_rank = 0, std::uint16_t group = 0,
                                               std::string_view cache_salt = {}) const;

private:
    std::uint32_t chunk_tokens_;
};

} // namespace terrace
