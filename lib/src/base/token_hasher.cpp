#include <terrace/token_hasher.hpp>

#include <fmt/format.h>
#include <memory>
#include <openssl/evp.h>
#include <stdexcept>

namespace terrace {

namespace {

/// What stands in the place of a previous hash before the first chunk: these 32 bytes of ASCII. Another seed would
/// orphan every object that was ever stored.
constexpr std::string_view seed = "terrace chunk hash chain, seed 1";
static_assert(seed.size() == 32);

/// SHA-256, over and over, in one OpenSSL context.
class sha256 {
public:
    sha256() : algorithm_{EVP_MD_fetch(nullptr, "SHA256", nullptr)}, context_{EVP_MD_CTX_new()}
    {
        check(algorithm_ && context_);
    }

    [[nodiscard]] chunk_hash operator()(std::span<const std::byte> first, std::span<const std::byte> second)
    {
        std::array<std::byte, 32> digest;
        check(EVP_DigestInit_ex2(context_.get(), algorithm_.get(), nullptr) == 1);
        check(EVP_DigestUpdate(context_.get(), first.data(), first.size()) == 1);
        check(EVP_DigestUpdate(context_.get(), second.data(), second.size()) == 1);
        check(EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(digest.data()), nullptr) == 1);
        return chunk_hash{digest};
    }

private:
    struct release {
        void operator()(EVP_MD* algorithm) const noexcept { EVP_MD_free(algorithm); }
        void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
    };

    static void check(bool done)
    {
        if (!done)
            throw std::runtime_error("token_hasher: OpenSSL has no SHA-256, or no memory for it");
    }

    std::unique_ptr<EVP_MD, release> algorithm_;
    std::unique_ptr<EVP_MD_CTX, release> context_;
};

void write_little_endian(std::span<const token_hasher::token> tokens, std::span<std::byte> to) noexcept
{
    for (std::size_t i = 0; i < tokens.size(); ++i)
        for (std::size_t b = 0; b < 4; ++b)
            to[4 * i + b] = static_cast<std::byte>(tokens[i] >> (8 * b));
}

} // namespace

token_hasher::token_hasher(std::uint32_t chunk_tokens) : chunk_tokens_{chunk_tokens}
{
    if (chunk_tokens == 0)
        throw std::invalid_argument("token_hasher: 0 tokens in a chunk; at least 1 was expected");
}

std::vector<chunk_hash> token_hasher::hashes(std::span<const token> tokens) const
{
    std::size_t chunks = tokens.size() / chunk_tokens_;
    std::vector<chunk_hash> chain;
    if (chunks == 0)
        return chain;
    chain.reserve(chunks);
    sha256 hash;
    std::vector<std::byte> words(std::size_t{4} * chunk_tokens_);
    auto previous = std::as_bytes(std::span{seed});
    for (std::size_t i = 0; i < chunks; ++i) {
        write_little_endian(tokens.subspan(i * chunk_tokens_, chunk_tokens_), words);
        previous = chain.emplace_back(hash(previous, words)).bytes(); // stays valid: nothing is reallocated
    }
    return chain;
}

std::vector<object_key> token_hasher::keys(std::span<const token> tokens, std::string_view model, std::uint32_t kv_rank,
                                           std::uint16_t group, std::string_view cache_salt) const
{
    // Made before there is a chunk to name, so that a bad model or salt throws however short the prompt is.
    object_key pattern{model, chunk_hash::from_number(0), kv_rank, group, cache_salt};
    auto chain = hashes(tokens);
    std::vector<object_key> keys;
    keys.reserve(chain.size());
    for (const chunk_hash& h : chain)
        keys.push_back(pattern.with_hash(h));
    return keys;
}

} // namespace terrace
