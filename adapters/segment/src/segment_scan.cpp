#include "segment_scan.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "aligned_buffer.hpp"

namespace terrace::segment {

using boost::system::error_code;

namespace {

/// How much is read ahead where headers lie close together, or where one is looked for.
constexpr std::uint64_t window_bytes = 256 * 1024;

/// How much of a payload is in memory at a time: every thread has its own.
constexpr std::uint64_t piece_bytes = 1 << 20;

/// Reads blocks of a segment one after the other.
class block_reader {
public:
    explicit block_reader(const segment_file& segment) : segment_{segment} {}

    /// Reads `ahead` bytes as well, if it can. Null: past the end. An error: this block cannot be read.
    result<const std::byte*> read(std::uint64_t offset, std::uint64_t ahead)
    {
        if (offset < begin_ || offset + block_bytes > begin_ + bytes_) {
            error_code failed = fill(offset, ahead);
            if (failed && bytes_ < block_bytes && ahead > block_bytes)
                failed = fill(offset, block_bytes); // what cannot be read may lie further on
            if (bytes_ < block_bytes)
                return failed ? result<const std::byte*>{failed} : nullptr;
        }
        return window_.bytes().data() + (offset - begin_);
    }

private:
    error_code fill(std::uint64_t offset, std::uint64_t bytes)
    {
        io::transfer part = segment_.read(offset, window_.bytes().first(bytes));
        part.perform();
        begin_ = offset;
        bytes_ = part.bytes();
        return part.error();
    }

    const segment_file& segment_;
    aligned_buffer window_{window_bytes};
    std::uint64_t begin_ = 0;
    std::uint64_t bytes_ = 0;
};

/// Whether the record at this place is one of this segment's, in its present life.
bool belongs(const record_header& header, const segment_file& segment, std::uint64_t offset)
{
    return header.life == segment.life && header.offset == offset &&
           header.payload_bytes <= segment.bytes - offset - block_bytes;
}

struct payload_state {
    bool whole = false;
    error_code unreadable;
};

payload_state look_at_payload(const segment_file& segment, const record_header& header)
{
    const aligned_buffer window{std::min(header.payload_bytes, piece_bytes)};
    std::uint64_t at = header.offset + block_bytes;
    std::uint64_t left = header.payload_bytes;
    error_code unreadable;
    const auto next_piece = [&]() -> std::span<const std::byte> {
        if (left == 0)
            return {};
        io::transfer part = segment.read(at, window.bytes().first(padded(std::min(left, piece_bytes))));
        part.perform();
        unreadable = part.error();
        const std::uint64_t bytes = unreadable ? 0 : std::min(left, part.bytes());
        at += bytes;
        left -= bytes;
        return window.bytes().first(bytes);
    };
    const std::uint64_t sum = checksum(next_piece);
    return {left == 0 && sum == header.payload_checksum, unreadable};
}

/// The header at a place, if there is one that `read` gave.
std::optional<record_header> header_in(const result<const std::byte*>& read)
{
    return read && *read != nullptr ? parse_record_header(block_view{*read, block_bytes}) : std::nullopt;
}

} // namespace

segment_contents scan(const segment_file& segment)
{
    segment_contents contents;
    block_reader reader{segment};
    bool sealed = false;
    std::uint64_t lost = 0; // where a header should be, and is none; 0: there is one
    error_code unreadable;  // since there
    const auto note_damage = [&](std::uint64_t end) {
        contents.damaged.push_back({segment.number, lost, end - lost, std::exchange(unreadable, {})});
    };
    std::uint64_t ahead = window_bytes;
    std::vector<record_header> headers;
    for (std::uint64_t offset = block_bytes; offset + block_bytes <= segment.bytes && !sealed;) {
        const result<const std::byte*> at = reader.read(offset, ahead);
        auto header = header_in(at);
        if (!header || !belongs(*header, segment, offset)) {
            lost = lost != 0 ? lost : offset;
            if (!at)
                unreadable = at.error();
            ahead = window_bytes;
            offset += block_bytes;
            continue;
        }
        if (lost != 0)
            note_damage(offset);
        lost = 0;
        sealed = header->kind == record_kind::end;
        offset += record_bytes(header->payload_bytes);
        ahead = header->payload_bytes < window_bytes / 4 ? window_bytes : block_bytes;
        contents.last_sequence = std::max(contents.last_sequence, header->sequence);
        if (!sealed)
            headers.push_back(std::move(*header));
    }
    if (unreadable) // otherwise nothing was written there
        note_damage(segment.bytes);
    const auto is_torn = [&](const record_header& header) {
        const payload_state payload = look_at_payload(segment, header);
        return !payload.whole && !payload.unreadable;
    };
    for (const record_header& header : headers) {
        const bool torn = !sealed && header.kind == record_kind::object && is_torn(header);
        const record where{segment.number, header.offset, header.payload_bytes, header.fingerprint, header.sequence};
        for (const object_key& key : header.keys)
            (torn ? contents.torn : contents.records).push_back({header.kind, key, where});
    }
    return contents;
}

void identify(segment_file& segment, std::vector<damaged_place>& damaged)
{
    block_reader reader{segment};
    const result<const std::byte*> first = reader.read(0, block_bytes);
    if (!first)
        damaged.push_back({segment.number, 0, block_bytes, first.error()});
    if (!first || *first == nullptr)
        return;
    const block_view block{*first, block_bytes};
    const auto header = parse_segment_header(block);
    if (header && header->number == segment.number) {
        segment.state = segment_state::sealed;
        segment.life = header->life;
        segment.order = header->order;
    } else if (std::ranges::any_of(block, [](std::byte b) { return b != std::byte{0}; })) {
        damaged.push_back({segment.number, 0, block_bytes, {}}); // a new one is all zeros
    }
}

std::string problem_of(const segment_file& segment, const object_key& key, const record& where)
{
    block_reader reader{segment};
    const result<const std::byte*> at = reader.read(where.offset, block_bytes);
    if (!at)
        return "its header cannot be read: " + at.error().message();
    const auto header = header_in(at);
    if (!header)
        return "its header is damaged, of another version, or not one";
    if (!belongs(*header, segment, where.offset) || header->kind != record_kind::object || header->keys[0] != key ||
        header->sequence != where.sequence || header->payload_bytes != where.payload_bytes ||
        header->fingerprint != where.fingerprint)
        return "another record lies in its place";
    const payload_state payload = look_at_payload(segment, *header);
    if (payload.unreadable)
        return "its payload cannot be read: " + payload.unreadable.message();
    if (!payload.whole)
        return "its payload is not what was stored";
    return {};
}

} // namespace terrace::segment
