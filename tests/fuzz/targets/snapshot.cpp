// What a directory of segments says of itself at its end. The input is all of it but the checksum.

#include "../../../adapters/segment/src/snapshot.hpp"
#include "fuzz/fuzz.hpp"

namespace terrace::fuzz {
namespace {

using namespace terrace::segment;

/// Two segments, as their headers tell of them.
recovered opened()
{
    recovered found;
    for (std::uint32_t number = 1; number <= 2; ++number) {
        segment_file segment;
        segment.number = number;
        segment.bytes = 1 << 20;
        segment.state = segment_state::sealed;
        segment.life = 100 + number;
        segment.order = number;
        found.segments.push_back(std::move(segment));
    }
    found.last_order = 2;
    return found;
}

snapshot_source source_of(const recovered& found)
{
    snapshot_source source;
    for (const segment_file& s : found.segments)
        source.segments.push_back(&s);
    for (const found_record& r : found.records)
        source.objects.push_back({r.key, r.where});
    source.last_sequence = found.last_sequence;
    source.last_order = found.last_order;
    return source;
}

void check_unchanged(const recovered& found)
{
    expect(found.records.empty() && found.last_sequence == 0 && found.last_order == 2, "refused, nothing has changed");
    for (const segment_file& s : found.segments)
        expect(s.state == segment_state::sealed && s.end == 0, "refused, no segment has changed");
}

bool applies(const bytes& snapshot, recovered& found)
{
    try {
        return apply_snapshot(snapshot, found);
    } catch (const std::length_error&) {
        return false; // the millionth model: a fuzzer gets there
    }
}

bool check_bytes(const bytes& snapshot)
{
    recovered found = opened();
    if (!applies(snapshot, found)) {
        check_unchanged(found);
        return false;
    }
    for (const segment_file& s : found.segments)
        expect(s.end <= s.bytes, "a segment ends in its file");
    for (const found_record& r : found.records)
        expect(r.where.segment - 1 < found.segments.size() && r.where.offset <= found.segments[0].bytes &&
                   r.where.payload_bytes <= found.segments[0].bytes,
               "a record lies in a segment");
    expect(make_snapshot(source_of(found)) == snapshot, "there is one snapshot of a directory");
    return true;
}

/// As it is, and as it would be if its checksum were right.
verdict check_snapshot(bytes_view input)
{
    bytes snapshot{input.begin(), input.end()};
    bool accepted = check_bytes(snapshot);
    snapshot.resize(snapshot.size() + 8);
    seal(snapshot);
    accepted = check_bytes(snapshot) || accepted;
    return accepted ? verdict::accepted : verdict::refused;
}

bytes snapshot_of(const recovered& found)
{
    bytes made = make_snapshot(source_of(found));
    made.resize(made.size() - 8); // check_snapshot() brings the checksum
    return made;
}

std::vector<bytes> snapshot_seeds()
{
    recovered found = opened();
    std::vector<bytes> seeds{snapshot_of(found)};
    found.segments[1].state = segment_state::open;
    found.segments[1].end = 8192;
    found.last_sequence = 9;
    found.records.push_back({record_kind::object, object_key{"m", chunk_hash::from_number(1)}, {1, 4096, 1000, 7, 8}});
    found.records.push_back(
        {record_kind::object, object_key{"a/b", chunk_hash::from_number(2), 1, 2, "s"}, {2, 4096, 1000, 7, 9}});
    seeds.push_back(snapshot_of(found));
    for (std::size_t at = 0; at < 240; at += 8) {
        seeds.push_back(seeds[1]);
        seeds.back().at(at) ^= std::byte{0x04};
    }
    recovered other = opened();
    other.segments.pop_back();
    seeds.push_back(snapshot_of(other));
    seeds.emplace_back();
    return seeds;
}

const registration snapshot_target{{"snapshot", check_snapshot, snapshot_seeds}};

} // namespace
} // namespace terrace::fuzz
