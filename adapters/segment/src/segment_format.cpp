#include "segment_format.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

namespace terrace::segment {

namespace {

constexpr std::string_view volume_magic = "TERRVOLM";
constexpr std::string_view segment_magic = "TERRSEGM";
constexpr std::string_view record_magic = "TERRRECD";
constexpr std::uint32_t version = 1;
constexpr std::uint64_t max_payload_bytes = std::uint64_t{1} << 62; // as a memory_layout has it

// Offsets in all.
constexpr std::size_t version_at = 8;
constexpr std::size_t checksum_at = block_bytes - 8;

// Offsets in a volume's label.
constexpr std::size_t segments_at = 12;
constexpr std::size_t segment_bytes_at = 16;

// Offset in the headers of segments and records.
constexpr std::size_t life_at = 16;

// Offsets in a segment's header.
constexpr std::size_t number_at = 12;
constexpr std::size_t order_at = 24;
constexpr std::size_t bytes_at = 32;

// Offsets in a record's header.
constexpr std::size_t kind_at = 12;
constexpr std::size_t offset_at = 24;
constexpr std::size_t sequence_at = 32;
constexpr std::size_t fingerprint_at = 40;
constexpr std::size_t payload_bytes_at = 48;
constexpr std::size_t payload_checksum_at = 56;
constexpr std::size_t key_count_at = 64;
constexpr std::size_t keys_at = 72;
static_assert(keys_at + key_room == checksum_at);

constexpr std::size_t key_length_bytes = 2;

// The longest key: every byte of model and salt as %XX, a hash of 32 bytes, two numbers and four separators.
static_assert(key_length_bytes + 3 * (object_key::max_model_bytes + object_key::max_salt_bytes) +
                  2 * chunk_hash::max_bytes + 8 + 4 + 4 <=
              key_room);

template <class Number>
void put_number(block_place block, std::size_t offset, Number n) noexcept
{
    for (std::size_t i = 0; i < sizeof n; ++i)
        block[offset + i] = static_cast<std::byte>(n >> (8 * i) & 0xff);
}

template <class Number>
Number get_number(block_view block, std::size_t offset) noexcept
{
    Number n = 0;
    for (std::size_t i = 0; i < sizeof n; ++i)
        n = static_cast<Number>(n | static_cast<Number>(std::to_integer<Number>(block[offset + i]) << (8 * i)));
    return n;
}

void begin(block_place block, std::string_view magic) noexcept
{
    std::ranges::fill(block, std::byte{0});
    std::memcpy(block.data(), magic.data(), magic.size());
    put_number<std::uint32_t>(block, version_at, version);
}

void end(block_place block) noexcept
{
    put_number<std::uint64_t>(block, checksum_at, checksum(block.first(checksum_at)));
}

bool has_magic(block_view block, std::string_view magic) noexcept
{
    return std::memcmp(block.data(), magic.data(), magic.size()) == 0;
}

/// The magic first: a scan asks this of blocks in the middle of payloads.
bool is_whole(block_view block, std::string_view magic) noexcept
{
    return has_magic(block, magic) && get_number<std::uint32_t>(block, version_at) == version &&
           get_number<std::uint64_t>(block, checksum_at) == checksum(block.first(checksum_at));
}

/// False: they are not what they should be.
bool parse_keys(block_view block, std::size_t count, record_header& header)
{
    std::size_t at = keys_at;
    while (count-- != 0) {
        if (at + key_length_bytes > checksum_at)
            return false;
        const std::size_t length = get_number<std::uint16_t>(block, at);
        at += key_length_bytes;
        if (length > checksum_at - at)
            return false;
        const result<object_key> key = object_key::parse({reinterpret_cast<const char*>(block.data()) + at, length});
        if (!key)
            return false;
        header.keys.push_back(*key);
        at += length;
    }
    return true;
}

bool is_sound(const record_header& header) noexcept
{
    switch (header.kind) {
    case record_kind::object:
        return header.keys.size() == 1 && header.payload_bytes != 0 && header.payload_bytes <= max_payload_bytes;
    case record_kind::erased:
        return !header.keys.empty() && header.payload_bytes == 0;
    case record_kind::end:
        return header.keys.empty() && header.payload_bytes == 0;
    }
    return false;
}

} // namespace

void put(const volume_label& label, block_place to) noexcept
{
    begin(to, volume_magic);
    put_number(to, segments_at, label.segments);
    put_number(to, segment_bytes_at, label.segment_bytes);
    end(to);
}

std::optional<volume_label> parse_volume_label(block_view block) noexcept
{
    if (!is_whole(block, volume_magic))
        return std::nullopt;
    volume_label label;
    label.segments = get_number<std::uint32_t>(block, segments_at);
    label.segment_bytes = get_number<std::uint64_t>(block, segment_bytes_at);
    if (label.segments < 2 || label.segment_bytes < 4 * block_bytes || label.segment_bytes % block_bytes != 0 ||
        label.segment_bytes > max_payload_bytes / label.segments)
        return std::nullopt;
    return label;
}

bool has_label_magic(block_view block) noexcept
{
    return has_magic(block, volume_magic);
}

void put(const segment_header& header, block_place to) noexcept
{
    begin(to, segment_magic);
    put_number(to, number_at, header.number);
    put_number(to, life_at, header.life);
    put_number(to, order_at, header.order);
    put_number(to, bytes_at, header.bytes);
    end(to);
}

std::optional<segment_header> parse_segment_header(block_view block) noexcept
{
    if (!is_whole(block, segment_magic))
        return std::nullopt;
    segment_header header;
    header.number = get_number<std::uint32_t>(block, number_at);
    header.life = get_number<std::uint64_t>(block, life_at);
    header.order = get_number<std::uint64_t>(block, order_at);
    header.bytes = get_number<std::uint64_t>(block, bytes_at);
    return header;
}

void put(const record_header& header, block_place to)
{
    begin(to, record_magic);
    put_number(to, kind_at, static_cast<std::uint32_t>(header.kind));
    put_number(to, life_at, header.life);
    put_number(to, offset_at, header.offset);
    put_number(to, sequence_at, header.sequence);
    put_number(to, fingerprint_at, header.fingerprint);
    put_number(to, payload_bytes_at, header.payload_bytes);
    put_number(to, payload_checksum_at, header.payload_checksum);
    put_number(to, key_count_at, static_cast<std::uint64_t>(header.keys.size()));
    std::size_t at = keys_at;
    for (const object_key& key : header.keys) {
        const std::string text = key.to_string();
        put_number(to, at, static_cast<std::uint16_t>(text.size()));
        std::memcpy(to.data() + at + key_length_bytes, text.data(), text.size());
        at += key_length_bytes + text.size();
    }
    end(to);
}

std::optional<record_header> parse_record_header(block_view block)
{
    if (!is_whole(block, record_magic))
        return std::nullopt;
    record_header header;
    header.kind = static_cast<record_kind>(get_number<std::uint32_t>(block, kind_at));
    header.life = get_number<std::uint64_t>(block, life_at);
    header.offset = get_number<std::uint64_t>(block, offset_at);
    header.sequence = get_number<std::uint64_t>(block, sequence_at);
    header.fingerprint = get_number<std::uint64_t>(block, fingerprint_at);
    header.payload_bytes = get_number<std::uint64_t>(block, payload_bytes_at);
    header.payload_checksum = get_number<std::uint64_t>(block, payload_checksum_at);
    if (!parse_keys(block, get_number<std::uint64_t>(block, key_count_at), header) || !is_sound(header))
        return std::nullopt;
    return header;
}

std::size_t key_cost(const object_key& key)
{
    return key_length_bytes + key.to_string().size();
}

} // namespace terrace::segment
