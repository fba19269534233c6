// The header of a segment and of a record in it. Zeros follow the input up to a whole block, so that a seed is short.

#include "../../../adapters/segment/src/segment_format.hpp"
#include "fuzz/fuzz.hpp"

namespace terrace::fuzz {
namespace {

using namespace terrace::segment;

using block = std::array<std::byte, block_bytes>;

template <class Header>
block block_of(const Header& header)
{
    block made;
    put(header, made);
    return made;
}

bool same(const record_header& a, const record_header& b)
{
    return a.kind == b.kind && a.life == b.life && a.offset == b.offset && a.sequence == b.sequence &&
           a.fingerprint == b.fingerprint && a.payload_bytes == b.payload_bytes &&
           a.payload_checksum == b.payload_checksum && a.keys == b.keys;
}

bool same(const segment_header& a, const segment_header& b)
{
    return a.number == b.number && a.life == b.life && a.order == b.order && a.bytes == b.bytes;
}

std::optional<record_header> parse_record(const block& from)
{
    try {
        return parse_record_header(from);
    } catch (const std::length_error&) {
        return std::nullopt; // the millionth model: a fuzzer gets there
    }
}

/// Whether the block is taken for a header.
bool check_block(const block& given)
{
    const auto segment = parse_segment_header(given);
    const auto record = parse_record(given);
    expect(!(segment && record), "a block is of one kind");
    if (segment) {
        const auto again = parse_segment_header(block_of(*segment));
        expect(again && same(*again, *segment), "a segment's header says again what was put into it");
    }
    if (record) {
        std::size_t room = 0;
        for (const object_key& key : record->keys)
            room += key_cost(key);
        expect(room <= key_room, "the keys of a record fit");
        const auto again = parse_record(block_of(*record));
        expect(again && same(*again, *record), "a record's header says again what was put into it");
    }
    return segment || record;
}

/// As it is, and as it would be if its checksum were right.
verdict check_input(bytes_view input)
{
    block given;
    fill(given, input);
    bool accepted = check_block(given);
    seal(given);
    accepted = check_block(given) || accepted;
    return accepted ? verdict::accepted : verdict::refused;
}

bytes seed_of(const auto& header)
{
    const block made = block_of(header);
    return trimmed(bytes_view{made}.first(block_bytes - 8)); // check_input() brings the checksum
}

std::vector<bytes> block_seeds()
{
    const object_key key{"a/b", chunk_hash::from_number(1), 2, 3, "salt"};
    record_header object;
    object.kind = record_kind::object;
    object.life = 11;
    object.offset = 8192;
    object.sequence = 13;
    object.fingerprint = 14;
    object.payload_bytes = 1000;
    object.payload_checksum = 15;
    object.keys.push_back(key);
    record_header erased;
    erased.kind = record_kind::erased;
    for (std::uint64_t n = 0; n < 3; ++n)
        erased.keys.push_back(key.with_hash(chunk_hash::from_number(n)));
    record_header two_keys = object;
    two_keys.keys.push_back(key);
    record_header no_payload = object;
    no_payload.payload_bytes = 0;

    std::vector<bytes> seeds{seed_of(segment_header{5, 6, 7, 8}),
                             seed_of(object),
                             seed_of(erased),
                             seed_of(record_header{}),
                             seed_of(two_keys),
                             seed_of(no_payload)};
    for (const std::size_t wrong : {0U, 8U, 12U, 64U, 70U, 72U, 73U, 80U}) { // magic, version, kind, keys
        seeds.push_back(seeds[2]);
        seeds.back()[wrong] ^= std::byte{0x40};
    }
    seeds.emplace_back();
    return seeds;
}

const registration block_target{{"segment_block", check_input, block_seeds}};

} // namespace
} // namespace terrace::fuzz
