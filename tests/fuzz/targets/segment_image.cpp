// A whole segment. Each 128 bytes of the input become one of its blocks: zeros follow, and the last byte says whether
// the block gets a right checksum, and the life and place that a record there must have.

#include "../../../adapters/segment/src/recovery.hpp"
#include "fuzz/fuzz.hpp"

#include <algorithm>
#include <sys/mman.h>
#include <system_error>
#include <unistd.h>

namespace terrace::fuzz {
namespace {

using namespace terrace::segment;

constexpr std::size_t piece_bytes = 128;
constexpr std::size_t max_pieces = 24;
constexpr std::uint64_t life = 11;
constexpr std::size_t life_at = 16; // as docs/formats/segment.md has it
constexpr std::size_t offset_at = 24;
constexpr std::byte gets_checksum{1};
constexpr std::byte gets_life_and_place{2};

void put_number(std::span<std::byte> to, std::uint64_t n)
{
    for (std::size_t i = 0; i < 8; ++i)
        to[i] = static_cast<std::byte>(n >> (8 * i) & 0xff);
}

/// The segment's header is no part of the input: a scan starts behind it.
bytes image_of(bytes_view input)
{
    const std::size_t pieces = std::min((input.size() + piece_bytes - 1) / piece_bytes, max_pieces);
    bytes image((1 + pieces) * block_bytes);
    for (std::size_t i = 0; i < pieces; ++i) {
        const auto piece = input.subspan(i * piece_bytes);
        const std::size_t offset = (1 + i) * block_bytes;
        const auto block = std::span{image}.subspan(offset, block_bytes);
        fill(block, piece.first(std::min(piece.size(), piece_bytes - 1)));
        const std::byte how = piece.size() >= piece_bytes ? piece[piece_bytes - 1] : gets_checksum;
        if ((how & gets_life_and_place) != std::byte{0}) {
            put_number(block.subspan(life_at), life);
            put_number(block.subspan(offset_at), offset);
        }
        if ((how & gets_checksum) != std::byte{0})
            seal(block);
    }
    return image;
}

/// A file without a name.
segment_file file_of(const bytes& image)
{
    segment_file segment;
    segment.number = 1;
    segment.state = segment_state::sealed;
    segment.life = life;
    segment.bytes = image.size();
    segment.file = std::make_shared<const io::unique_fd>(::memfd_create("segment", MFD_CLOEXEC));
    if (::pwrite(segment.file->get(), image.data(), image.size(), 0) != static_cast<ssize_t>(image.size()))
        throw std::system_error(errno, std::generic_category(), "memfd");
    return segment;
}

verdict check_image(bytes_view input)
{
    const segment_file segment = file_of(image_of(input));
    segment_contents contents;
    try {
        contents = scan(segment);
    } catch (const std::length_error&) {
        return verdict::refused; // the millionth model: a fuzzer gets there
    }
    std::uint64_t end = block_bytes;
    std::uint64_t last = 0; // where the record before this key's lies
    for (const found_record& found : contents.records) {
        const record& where = found.where;
        expect(where.segment == segment.number, "a record is found in the segment that was scanned");
        expect(where.sequence <= contents.last_sequence, "the last sequence number is the largest");
        expect(where.offset % block_bytes == 0 && where.payload_bytes <= segment.bytes - where.offset - block_bytes,
               "a record lies in its segment");
        expect(where.offset >= end || where.offset == last, "records lie one behind the other");
        last = where.offset;
        end = where.offset + where.bytes();
        expect(found.kind != record_kind::end, "an end record names nothing");
    }
    return contents.records.empty() ? verdict::refused : verdict::accepted;
}

/// A record's header as a piece of an input.
bytes piece_of(const record_header& header)
{
    std::array<std::byte, block_bytes> block;
    put(header, block);
    bytes piece(piece_bytes);
    std::ranges::copy(std::span{block}.first(piece_bytes - 1), piece.begin());
    piece.back() = gets_checksum | gets_life_and_place;
    return piece;
}

bytes piece_of(record_kind kind, std::uint64_t sequence, std::uint64_t payload_bytes)
{
    record_header header;
    header.kind = kind;
    header.sequence = sequence;
    header.payload_bytes = payload_bytes;
    const bytes payload(payload_bytes);
    header.payload_checksum = checksum(payload);
    if (kind != record_kind::end)
        header.keys.push_back(object_key{"m", chunk_hash::from_number(sequence)});
    return piece_of(header);
}

bytes joined(std::initializer_list<bytes> pieces)
{
    bytes all;
    for (const bytes& piece : pieces)
        all.insert(all.end(), piece.begin(), piece.end());
    return all;
}

std::vector<bytes> image_seeds()
{
    const bytes object = piece_of(record_kind::object, 1, 100);
    const bytes large = piece_of(record_kind::object, 2, 10'000);
    const bytes erased = piece_of(record_kind::erased, 3, 0);
    const bytes end = piece_of(record_kind::end, 0, 0);
    const bytes payload(piece_bytes);
    bytes foreign = object;
    foreign.back() = gets_checksum; // of another life
    return {
        joined({object, payload, erased, end}),
        joined({object, payload, large, payload, payload, payload, erased}), // not sealed
        joined({large, payload}),                                            // passes the end
        joined({foreign, payload, object, payload, end, object, payload}),
        joined({payload, payload, end}),
        {},
    };
}

const registration image_target{{"segment_image", check_image, image_seeds}};

} // namespace
} // namespace terrace::fuzz
