#include "file_format.hpp"

#include <cstring>
#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <terrace/io/checksum.hpp>

namespace terrace::file {

using io::checksum;

namespace {

constexpr std::string_view magic = "TERRFILE";
constexpr std::uint32_t version = 1;
constexpr std::string_view suffix = ".kv";
constexpr std::size_t name_max = 255; // bytes in a file name, on every file system worth the trouble

// Offsets in the header.
constexpr std::size_t version_at = 8;
constexpr std::size_t header_bytes_at = 12;
constexpr std::size_t fingerprint_at = 16;
constexpr std::size_t payload_bytes_at = 24;
constexpr std::size_t payload_checksum_at = 32;
constexpr std::size_t key_bytes_at = 40;
constexpr std::size_t key_text_at = 48;
constexpr std::size_t header_checksum_at = header_bytes - 8;

// The longest key: every byte of model and salt as %XX, a hash of 32 bytes, two numbers and four separators.
static_assert(3 * (object_key::max_model_bytes + object_key::max_salt_bytes) + 2 * chunk_hash::max_bytes + 8 + 4 + 4 <=
              header_checksum_at - key_text_at);

template <class Number>
void put(header_page& page, std::size_t offset, Number n)
{
    for (std::size_t i = 0; i < sizeof n; ++i)
        page[offset + i] = static_cast<std::byte>(n >> (8 * i) & 0xff);
}

template <class Number>
Number get(const header_page& page, std::size_t offset)
{
    Number n = 0;
    for (std::size_t i = 0; i < sizeof n; ++i)
        n |= static_cast<Number>(std::to_integer<Number>(page[offset + i]) << (8 * i));
    return n;
}

std::string_view text_at(const header_page& page, std::size_t offset, std::size_t bytes)
{
    return {reinterpret_cast<const char*>(page.data()) + offset, bytes};
}

/// 32 digits that stand for a key in paths.
std::string path_digits(std::string_view key_text)
{
    const XXH128_hash_t hash = XXH3_128bits(key_text.data(), key_text.size());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

bool is_hexadecimal(std::string_view text)
{
    return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

} // namespace

header_page make_header(const object_key& key, const memory_layout& layout, std::span<const std::byte> payload)
{
    const std::string text = key.to_string();
    header_page page{};
    std::memcpy(page.data(), magic.data(), magic.size());
    put<std::uint32_t>(page, version_at, version);
    put<std::uint32_t>(page, header_bytes_at, header_bytes);
    put<std::uint64_t>(page, fingerprint_at, layout.fingerprint());
    put<std::uint64_t>(page, payload_bytes_at, payload.size());
    put<std::uint64_t>(page, payload_checksum_at, checksum(payload));
    put<std::uint32_t>(page, key_bytes_at, static_cast<std::uint32_t>(text.size()));
    std::memcpy(page.data() + key_text_at, text.data(), text.size());
    put<std::uint64_t>(page, header_checksum_at, checksum(std::span{page}.first(header_checksum_at)));
    return page;
}

std::optional<object_key> key_of(const header_page& header)
{
    if (text_at(header, 0, magic.size()) != magic || get<std::uint32_t>(header, version_at) != version ||
        get<std::uint64_t>(header, header_checksum_at) != checksum(std::span{header}.first(header_checksum_at)))
        return std::nullopt;
    const std::size_t key_bytes = get<std::uint32_t>(header, key_bytes_at);
    if (key_bytes > header_checksum_at - key_text_at)
        return std::nullopt;
    const result<object_key> key = object_key::parse(text_at(header, key_text_at, key_bytes));
    return key ? std::optional{*key} : std::nullopt;
}

std::optional<memory_layout> layout_of(const header_page& header)
{
    if (!key_of(header))
        return std::nullopt;
    return memory_layout::known_by(get<std::uint64_t>(header, payload_bytes_at),
                                   get<std::uint64_t>(header, fingerprint_at));
}

std::uint64_t payload_checksum_of(const header_page& header)
{
    return get<std::uint64_t>(header, payload_checksum_at);
}

std::string path_of(const object_key& key)
{
    const std::string text = key.to_string();
    const std::string digits = path_digits(text);
    const std::string_view folder = std::string_view{digits}.substr(0, 2);
    if (text.size() + suffix.size() <= name_max)
        return fmt::format("{}/{}{}", folder, text, suffix);
    return fmt::format("{}/~{}{}", folder, digits, suffix);
}

bool is_hashed_path(std::string_view path)
{
    // "7f/~7f...": no key in text has a '~'.
    return path.size() == 4 + 32 + suffix.size() && path.substr(2, 2) == "/~" && path.ends_with(suffix) &&
           is_hexadecimal(path.substr(4, 32)) && path.substr(0, 2) == path.substr(4, 2);
}

std::optional<object_key> key_at(std::string_view path)
{
    if (path.size() <= 3 + suffix.size() || !path.ends_with(suffix))
        return std::nullopt;
    const std::string_view text = path.substr(3, path.size() - 3 - suffix.size());
    const result<object_key> key = object_key::parse(text);
    return key && path_of(*key) == path ? std::optional{*key} : std::nullopt;
}

std::string folder_name(std::uint8_t number)
{
    return fmt::format("{:02x}", number);
}

} // namespace terrace::file
