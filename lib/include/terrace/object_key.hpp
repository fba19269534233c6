#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include <terrace/api.hpp>
#include <terrace/error.hpp>

namespace terrace {

/// The identity of a chunk's tokens and of all tokens before it: 1 to 32 bytes, as the caller's hash gives them.
///
/// Hashes of different lengths are different, whatever their bytes.
class TERRACE_API chunk_hash {
public:
    static constexpr std::size_t max_bytes = 32;

    /// The empty hash, which identifies nothing: every operation refuses it.
    constexpr chunk_hash() noexcept = default;

    /// Throws std::invalid_argument unless 1 <= digest.size() <= 32.
    explicit chunk_hash(std::span<const std::byte> digest);

    /// Eight bytes, most significant first, so that the hexadecimal form reads as the number.
    [[nodiscard]] static chunk_hash from_number(std::uint64_t n) noexcept;

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {bytes_.data(), size_}; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    friend bool operator==(const chunk_hash&, const chunk_hash&) = default;

private:
    friend class object_key;
    std::array<std::byte, max_bytes> bytes_{}; // zero from size_ on
    std::uint8_t size_ = 0;
};

/// The name of one stored object: chunk hash, model, kv_rank, object group and cache salt.
///
/// All five take part in equality. A key is 48 bytes, trivially copyable, and compares as memory: model and salt are
/// interned in a process-wide table, which holds at most 2^20 distinct strings and never forgets one.
///
///     model@kv_rank@group@hash[@salt]     to_string(); numbers and hash in hexadecimal, safe as a file name
///
/// Threads: every member may be called from any thread.
class TERRACE_API object_key {
public:
    static constexpr std::size_t max_model_bytes = 255;
    static constexpr std::size_t max_salt_bytes = 128;

    /// The empty key, which names nothing: every operation refuses it.
    constexpr object_key() noexcept = default;

    /// model       1 to 255 bytes, without '@' and control characters
    /// kv_rank     which tensor-parallel shard of the chunk this is
    /// group       object group: layers that are stored apart (full attention, sliding window, ...)
    /// cache_salt  isolates tenants: at most 128 bytes, without '@', '/', '\' and control characters
    ///
    /// Throws std::invalid_argument that names the offending value; std::length_error when the intern table is full.
    object_key(std::string_view model, const chunk_hash& hash, std::uint32_t kv_rank = 0, std::uint16_t group = 0,
               std::string_view cache_salt = {});

    /// Throws std::invalid_argument, as the constructor does, for what cannot be a cache salt.
    static void check_cache_salt(std::string_view cache_salt);

    /// The same model, rank, group and salt with another chunk: no table is touched.
    [[nodiscard]] object_key with_hash(const chunk_hash& hash) const noexcept
    {
        object_key other{*this};
        other.hash_ = hash;
        return other;
    }

    [[nodiscard]] const chunk_hash& hash() const noexcept { return hash_; }
    [[nodiscard]] std::string_view model() const noexcept;
    [[nodiscard]] std::uint32_t kv_rank() const noexcept { return kv_rank_; }
    [[nodiscard]] std::uint16_t group() const noexcept { return group_; }
    [[nodiscard]] std::string_view cache_salt() const noexcept; ///< valid for as long as the process lives
    /// A number that stands for the cache salt in this process; 0 for the empty one.
    [[nodiscard]] std::uint32_t cache_salt_number() const noexcept { return salt_; }
    [[nodiscard]] bool empty() const noexcept { return hash_.empty(); }

    /// Bytes other than letters, digits, '.', '_' and '-' of model and salt appear as %XX, so the result is a valid
    /// name for files and for stores that split at '/'.
    [[nodiscard]] std::string to_string() const;

    /// The inverse of to_string(). Errors: errc::malformed_key.
    /// Throws std::length_error when the intern table is full.
    [[nodiscard]] static result<object_key> parse(std::string_view text);

    /// Well mixed, and cheap: no string is read.
    [[nodiscard]] std::size_t hash_code() const noexcept
    {
        std::array<std::uint64_t, 6> w;
        std::memcpy(w.data(), this, sizeof w);
        // Chunk hashes are digests, or plain numbers that differ in few bits: the words are summed, each under an odd
        // factor of its own, and every bit of the sum reaches every bit of the result. Finaliser: MurmurHash3.
        std::uint64_t h = w[0] + w[1] * 0x9e3779b97f4a7c15U + w[2] * 0xbf58476d1ce4e5b9U + w[3] * 0x94d049bb133111ebU +
                          w[4] * 0xd6e8feb86659fd93U + w[5] * 0xa0761d6478bd642fU;
        h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdU;
        h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53U;
        return h ^ (h >> 33);
    }

    friend bool operator==(const object_key& a, const object_key& b) noexcept
    {
        return std::memcmp(&a, &b, sizeof a) == 0;
    }

private:
    chunk_hash hash_;
    std::uint8_t padding_ = 0; // named, so that keys compare as memory
    std::uint16_t group_ = 0;
    std::uint32_t kv_rank_ = 0;
    std::uint32_t model_ = 0; // interned
    std::uint32_t salt_ = 0;  // interned; 0 is the empty string
};

static_assert(sizeof(object_key) == 48 && std::is_trivially_copyable_v<object_key>);
static_assert(std::has_unique_object_representations_v<object_key>);

} // namespace terrace

template <>
struct std::hash<terrace::object_key> {
    std::size_t operator()(const terrace::object_key& key) const noexcept { return key.hash_code(); }
};
