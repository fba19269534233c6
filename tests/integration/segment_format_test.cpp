#include "../../adapters/segment/src/segment_format.hpp"

#include <doctest/doctest.h>
#include <filesystem>
#include <random>
#include <unistd.h>

#include "../../adapters/segment/src/reclaim.hpp"
#include "../../adapters/segment/src/segment_directory.hpp"
#include "../../adapters/segment/src/segment_log.hpp"
#include "../../adapters/segment/src/write_group.hpp"

using namespace terrace::segment;
using terrace::chunk_hash;
using terrace::object_key;

namespace {

object_key key(std::uint64_t n)
{
    return object_key{"model", chunk_hash::from_number(n)};
}

record_header header_of_object()
{
    record_header header;
    header.kind = record_kind::object;
    header.life = 11;
    header.offset = 8192;
    header.sequence = 13;
    header.fingerprint = 14;
    header.payload_bytes = 1000;
    header.payload_checksum = 15;
    header.keys.push_back(object_key{"m/x", chunk_hash::from_number(1), 2, 3, "salt"});
    return header;
}

std::array<std::byte, block_bytes> block_of(const record_header& header)
{
    std::array<std::byte, block_bytes> block;
    put(header, block);
    return block;
}

indexed object(std::uint64_t n, std::uint64_t payload_bytes, std::uint32_t uses, bool locked = false)
{
    return {key(n), {1, n * 100'000, payload_bytes, 7, n}, uses, locked};
}

/// One that is never read or written.
segment_file segment_of(std::uint64_t bytes)
{
    segment_file segment;
    segment.file = std::make_shared<const terrace::io::unique_fd>();
    segment.bytes = bytes;
    return segment;
}

std::vector<object_key> keys_of(const std::vector<indexed>& objects)
{
    std::vector<object_key> keys;
    for (const indexed& o : objects)
        keys.push_back(o.key);
    return keys;
}

} // namespace

TEST_CASE("segment format: a header says again what was put into it")
{
    const record_header header = header_of_object();
    const auto parsed = parse_record_header(block_of(header));
    REQUIRE(parsed);
    CHECK(parsed->kind == header.kind);
    CHECK(parsed->life == header.life);
    CHECK(parsed->offset == header.offset);
    CHECK(parsed->sequence == header.sequence);
    CHECK(parsed->fingerprint == header.fingerprint);
    CHECK(parsed->payload_bytes == header.payload_bytes);
    CHECK(parsed->payload_checksum == header.payload_checksum);
    CHECK(parsed->keys == header.keys);

    std::array<std::byte, block_bytes> block;
    put(segment_header{5, 6, 7, 8}, block);
    const auto segment = parse_segment_header(block);
    REQUIRE(segment);
    CHECK(segment->number == 5);
    CHECK(segment->life == 6);
    CHECK(segment->order == 7);
    CHECK(segment->bytes == 8);
    CHECK(!parse_record_header(block));
    CHECK(!parse_segment_header(block_of(header)));
}

TEST_CASE("segment format: an erasure names as many keys as it has room for")
{
    record_header header;
    header.kind = record_kind::erased;
    std::size_t room = key_room;
    for (std::uint64_t n = 0; key_cost(key(n)) <= room; ++n) {
        header.keys.push_back(key(n));
        room -= key_cost(key(n));
    }
    CHECK(header.keys.size() > 50);
    const auto parsed = parse_record_header(block_of(header));
    REQUIRE(parsed);
    CHECK(parsed->keys == header.keys);

    header.keys = {object_key{std::string(255, '/'), chunk_hash::from_number(1), 0, 0, std::string(128, '%')}};
    CHECK(parse_record_header(block_of(header))->keys == header.keys);
}

TEST_CASE("segment format: a header with any one bit wrong is none")
{
    auto block = block_of(header_of_object());
    for (std::size_t bit = 0; bit < 8 * block_bytes; bit += bit < 8 * 200 ? 1 : 61) {
        const auto mask = static_cast<std::byte>(1U << (bit % 8));
        block[bit / 8] ^= mask;
        CHECK(!parse_record_header(block));
        block[bit / 8] ^= mask;
    }
    CHECK(parse_record_header(block));
}

TEST_CASE("segment format: a header that contradicts itself is none, though its checksum is right")
{
    record_header header = header_of_object();
    SUBCASE("an object without a payload")
    {
        header.payload_bytes = 0;
    }
    SUBCASE("an object that no layout can have")
    {
        header.payload_bytes = UINT64_MAX;
    }
    SUBCASE("an object of two keys")
    {
        header.keys.push_back(key(1));
    }
    SUBCASE("an erasure of nothing")
    {
        header.kind = record_kind::erased;
        header.payload_bytes = 0;
        header.keys.clear();
    }
    SUBCASE("an end with a payload")
    {
        header.kind = record_kind::end;
        header.keys.clear();
    }
    SUBCASE("a kind that there is not")
    {
        header.kind = static_cast<record_kind>(4);
    }
    CHECK(!parse_record_header(block_of(header)));
}

TEST_CASE("segment format: any bytes under a right checksum are parsed within their bounds")
{
    std::mt19937_64 random{1};
    for (int round = 0; round < 20'000; ++round) {
        auto block = block_of(header_of_object());
        for (int i = 0; i < 3; ++i)
            block[12 + random() % 100] = static_cast<std::byte>(random());
        const std::uint64_t sum = checksum(std::span{block}.first(block_bytes - 8));
        for (std::size_t i = 0; i < 8; ++i)
            block[block_bytes - 8 + i] = static_cast<std::byte>(sum >> (8 * i) & 0xff);
        if (const auto parsed = parse_record_header(block))
            CHECK(!parsed->keys.empty());
    }
}

TEST_CASE("write group: small records that arrive together are one write")
{
    segment_file segment = segment_of(1 << 20);
    segment.end = 8192;
    std::vector<std::byte> payload(10'000);
    std::vector<outgoing> records(20);
    write_group group{segment};
    std::uint64_t end = segment.end;
    for (outgoing& r : records) {
        r.keys.push_back(key(1));
        r.payload = payload;
        CHECK(group.add(r, 64 << 20));
        CHECK(r.offset == end);
        end += record_bytes(payload.size());
    }
    CHECK(group.end() == end);
    aligned_buffer staging;
    const auto writes = group.lay_out(staging);
    REQUIRE(writes.size() == 1);
    CHECK(writes[0].next().offset == 8192);
    CHECK(writes[0].next().bytes == end - 8192);
}

TEST_CASE("write group: a large payload is written from where it is, with what was before it")
{
    const segment_file segment = segment_of(16 << 20); // not yet begun: its header goes along
    const aligned_buffer payload{1 << 20};
    std::vector<outgoing> records(4);
    write_group group{segment};
    for (outgoing& r : records) {
        r.keys.push_back(key(1));
        r.payload = payload.bytes();
        CHECK(group.add(r, 64 << 20));
    }
    aligned_buffer staging;
    const auto writes = group.lay_out(staging);
    REQUIRE(writes.size() == 4);
    CHECK(writes[0].next().parts[0].iov_len == 2 * block_bytes);
    CHECK(writes[0].next().parts[1].iov_base == payload.bytes().data());
    CHECK(writes[3].next().offset + writes[3].next().bytes == group.end());
}

TEST_CASE("write group: it ends where the segment's end mark has to go, or at the limit")
{
    const segment_file segment = segment_of(10 * block_bytes);
    CHECK(room_for_records(segment) == 8 * block_bytes);
    std::vector<std::byte> payload(3 * block_bytes);
    std::vector<outgoing> records(3);
    for (outgoing& r : records)
        r.payload = payload;
    write_group group{segment};
    SUBCASE("room")
    {
        CHECK(group.add(records[0], UINT64_MAX));
        CHECK(group.add(records[1], UINT64_MAX));
        CHECK(!group.add(records[2], UINT64_MAX));
    }
    SUBCASE("limit, which one record may pass")
    {
        CHECK(group.add(records[0], 1));
        CHECK(!group.add(records[1], 1));
    }
}

TEST_CASE("reclaim: what is locked stays, and of the others what was used most, to half of the segment")
{
    constexpr std::uint64_t payload = 3 * block_bytes; // records of 4 blocks
    constexpr std::uint64_t segment_bytes = 16 * block_bytes;
    const std::vector<indexed> objects{object(1, payload, 0), object(2, payload, 1), object(3, payload, 3),
                                       object(4, payload, 0, true), object(5, payload, 2)};
    const auto choice = choose(objects, segment_bytes, segment_bytes);
    REQUIRE(choice);
    CHECK(keys_of(choice->kept) == std::vector{key(4), key(3), key(5)});
    CHECK(keys_of(choice->evicted) == std::vector{key(1), key(2)});
    CHECK(choice->kept_bytes == 12 * block_bytes);

    SUBCASE("with less room, only the locked")
    {
        const auto tight = choose(objects, segment_bytes, 5 * block_bytes);
        REQUIRE(tight);
        CHECK(keys_of(tight->kept) == std::vector{key(4)});
    }
    SUBCASE("and nothing goes if they do not fit")
    {
        CHECK(!choose(objects, segment_bytes, 3 * block_bytes));
    }
}

TEST_CASE("segment log: a segment is not filled again before the last load has left it")
{
    const std::filesystem::path directory =
        std::filesystem::temp_directory_path() / ("terrace-log-" + std::to_string(::getpid()));
    make_directory(directory);
    log_options options;
    options.segment_bytes = 64 << 10;
    {
        segment_log log{std::make_unique<segment_directory>(directory, segment_access::own), options};
        const std::vector<std::byte> payload(1000);
        log.fill(*log.find_free());
        outgoing record;
        record.keys.push_back(key(1));
        record.payload = payload;
        record.fingerprint = terrace::memory_layout::bytes(1000).fingerprint();
        record.sequence = log.next_sequence();
        write_group group{*log.filling()};
        REQUIRE(group.add(record, UINT64_MAX));
        log.publish(group);
        segment_file& first = *log.filling();
        log.fill(*log.find_free());

        auto held = log.hold(key(1), terrace::memory_layout::bytes(1000));
        REQUIRE(held);
        const auto reclaimed = log.begin_reclaim();
        REQUIRE(reclaimed);
        CHECK(reclaimed->segment == &first);
        CHECK(!log.hold(key(1), terrace::memory_layout::bytes(1000)));
        CHECK(!log.end_reclaim(first));
        held.reset();
        CHECK(log.end_reclaim(first));
        CHECK(log.find_free() == &first);
    }
    std::filesystem::remove_all(directory);
}
