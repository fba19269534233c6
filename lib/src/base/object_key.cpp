#include <terrace/object_key.hpp>

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <optional>
#include <stdexcept>
#include <vector>

#include "base/intern_table.hpp"

namespace terrace {

namespace {

/// The table of models and salts. It is never destroyed: keys may outlive main(), in threads and in static objects.
intern_table& names()
{
    union immortal {
        intern_table table{std::size_t{1} << 20};
        immortal() {}
        ~immortal() {}
    };
    static immortal storage;
    return storage.table;
}

constexpr bool is_control(char c) noexcept
{
    auto u = static_cast<unsigned char>(c);
    return u < 0x20 || u == 0x7f;
}

/// What stands for itself in the text of a key.
constexpr bool is_plain(char c) noexcept
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

constexpr std::string_view forbidden_in_model = "@";
constexpr std::string_view forbidden_in_salt = "@/\\";

/// The first character that must not be there, or npos.
std::size_t find_forbidden(std::string_view text, std::string_view forbidden) noexcept
{
    auto bad = std::ranges::find_if(
        text, [&](char c) { return is_control(c) || forbidden.find(c) != std::string_view::npos; });
    return bad == text.end() ? std::string_view::npos : static_cast<std::size_t>(bad - text.begin());
}

bool is_model(std::string_view text) noexcept
{
    return !text.empty() && text.size() <= object_key::max_model_bytes &&
           find_forbidden(text, forbidden_in_model) == std::string_view::npos;
}

bool is_salt(std::string_view text) noexcept
{
    return text.size() <= object_key::max_salt_bytes &&
           find_forbidden(text, forbidden_in_salt) == std::string_view::npos;
}

constexpr std::string_view hex_digits = "0123456789abcdef";

void append_hex(std::string& to, std::byte b)
{
    to += hex_digits[std::to_integer<std::size_t>(b >> 4)];
    to += hex_digits[std::to_integer<std::size_t>(b & std::byte{0xf})];
}

void append_escaped(std::string& to, std::string_view text)
{
    for (char c : text) {
        if (is_plain(c)) {
            to += c;
        } else {
            to += '%';
            append_hex(to, static_cast<std::byte>(c));
        }
    }
}

/// The number that exactly these lower-case digits spell; nothing for any other text.
template <class Number>
std::optional<Number> parse_hex(std::string_view text, std::size_t digits) noexcept
{
    if (text.size() != digits || text.find_first_not_of(hex_digits) != std::string_view::npos)
        return std::nullopt;
    Number n{};
    std::from_chars(text.data(), text.data() + text.size(), n, 16);
    return n;
}

/// The inverse of append_escaped(), and of nothing else: what needs no escape must not have one.
std::optional<std::string> parse_escaped(std::string_view text)
{
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (is_plain(text[i])) {
            plain += text[i];
            continue;
        }
        auto escaped = text[i] == '%' ? parse_hex<unsigned char>(text.substr(i + 1, 2), 2) : std::nullopt;
        if (!escaped || is_plain(static_cast<char>(*escaped)))
            return std::nullopt;
        plain += static_cast<char>(*escaped);
        i += 2;
    }
    return plain;
}

std::optional<chunk_hash> parse_hash(std::string_view text)
{
    std::array<std::byte, chunk_hash::max_bytes> bytes{};
    std::size_t size = text.size() / 2;
    if (text.size() % 2 != 0 || size == 0 || size > bytes.size())
        return std::nullopt;
    for (std::size_t i = 0; i < size; ++i) {
        auto b = parse_hex<unsigned char>(text.substr(2 * i, 2), 2);
        if (!b)
            return std::nullopt;
        bytes[i] = std::byte{*b};
    }
    return chunk_hash{std::span{bytes}.first(size)};
}

std::vector<std::string_view> split(std::string_view text, char at)
{
    std::vector<std::string_view> parts;
    for (;;) {
        auto end = text.find(at);
        parts.push_back(text.substr(0, end));
        if (end == std::string_view::npos)
            return parts;
        text.remove_prefix(end + 1);
    }
}

/// Throws for a model or a salt that has a character which must not be there.
void check_characters(std::string_view what, std::string_view text, std::string_view forbidden)
{
    auto at = find_forbidden(text, forbidden);
    if (at == std::string_view::npos)
        return;
    // Escaped, so that a control character does no harm where the message is shown.
    std::string shown;
    append_escaped(shown, text);
    throw std::invalid_argument(fmt::format("object_key: {} \"{}\" has the byte 0x{:02x} at {}; {} and control "
                                            "characters must not be in it",
                                            what, shown, static_cast<unsigned char>(text[at]), at, forbidden));
}

} // namespace

chunk_hash::chunk_hash(std::span<const std::byte> digest)
{
    if (digest.empty() || digest.size() > max_bytes)
        throw std::invalid_argument(
            fmt::format("chunk_hash: a digest of {} bytes; 1 to {} were expected", digest.size(), max_bytes));
    std::ranges::copy(digest, bytes_.begin());
    size_ = static_cast<std::uint8_t>(digest.size());
}

chunk_hash chunk_hash::from_number(std::uint64_t n) noexcept
{
    chunk_hash hash;
    hash.size_ = sizeof n;
    for (std::size_t i = 0; i < sizeof n; ++i)
        hash.bytes_[i] = static_cast<std::byte>(n >> (56 - 8 * i));
    return hash;
}

object_key::object_key(std::string_view model, const chunk_hash& hash, std::uint32_t kv_rank, std::uint16_t group,
                       std::string_view cache_salt)
    : hash_{hash},
      group_{group},
      kv_rank_{kv_rank}
{
    if (hash.empty())
        throw std::invalid_argument("object_key: the chunk hash is empty");
    if (model.empty() || model.size() > max_model_bytes)
        throw std::invalid_argument(
            fmt::format("object_key: a model name of {} bytes; 1 to {} were expected", model.size(), max_model_bytes));
    check_characters("model name", model, forbidden_in_model);
    check_cache_salt(cache_salt);
    model_ = names().id(model);
    salt_ = names().id(cache_salt);
}

void object_key::check_cache_salt(std::string_view cache_salt)
{
    if (cache_salt.size() > max_salt_bytes)
        throw std::invalid_argument(fmt::format("object_key: a cache salt of {} bytes; at most {} were expected",
                                                cache_salt.size(), max_salt_bytes));
    check_characters("cache salt", cache_salt, forbidden_in_salt);
}

std::string_view object_key::model() const noexcept
{
    return names().text(model_);
}

std::string_view object_key::cache_salt() const noexcept
{
    return names().text(salt_);
}

std::string object_key::to_string() const
{
    std::string text;
    append_escaped(text, model());
    fmt::format_to(std::back_inserter(text), "@{:08x}@{:04x}@", kv_rank_, group_);
    for (std::byte b : hash_.bytes())
        append_hex(text, b);
    if (salt_ != 0) {
        text += '@';
        append_escaped(text, cache_salt());
    }
    return text;
}

result<object_key> object_key::parse(std::string_view text)
{
    auto parts = split(text, '@');
    if (parts.size() != 4 && parts.size() != 5)
        return errc::malformed_key;
    auto model = parse_escaped(parts[0]);
    auto kv_rank = parse_hex<std::uint32_t>(parts[1], 8);
    auto group = parse_hex<std::uint16_t>(parts[2], 4);
    auto hash = parse_hash(parts[3]);
    auto salt = parts.size() == 5 ? parse_escaped(parts[4]) : std::string{};
    bool no_salt = parts.size() == 4;
    if (!model || !kv_rank || !group || !hash || !salt || !is_model(*model) || !is_salt(*salt) ||
        salt->empty() != no_salt)
        return errc::malformed_key;
    return object_key{*model, *hash, *kv_rank, *group, *salt}; // interns, now that the whole text is known to be good
}

} // namespace terrace
