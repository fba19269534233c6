#include "recovery.hpp"

#include <algorithm>
#include <atomic>
#include <fmt/format.h>
#include <future>
#include <system_error>

#include <terrace/io/transfer.hpp>

#include "aligned_buffer.hpp"
#include "snapshot.hpp"

namespace terrace::segment {

namespace {

/// How much is read ahead where headers lie close together, or where one is looked for.
constexpr std::uint64_t window_bytes = 256 * 1024;

/// Reads blocks of a segment one after the other.
class block_reader {
public:
    explicit block_reader(const segment_file& segment) : segment_{segment} {}

    /// Reads `ahead` bytes as well. Null: past the end, or it cannot be read.
    const std::byte* read(std::uint64_t offset, std::uint64_t ahead)
    {
        if (offset < begin_ || offset + block_bytes > begin_ + bytes_) {
            begin_ = offset;
            io::transfer part = io::transfer::read(segment_.file.get(), offset, window_.bytes().first(ahead));
            part.perform();
            bytes_ = part.bytes();
            if (bytes_ < block_bytes)
                return nullptr;
        }
        return window_.bytes().data() + (offset - begin_);
    }

private:
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

bool payload_is_whole(const segment_file& segment, const record_header& header)
{
    const aligned_buffer payload{header.payload_bytes};
    io::transfer all = io::transfer::read(segment.file.get(), header.offset + block_bytes, payload.bytes());
    all.perform();
    return all.bytes() >= header.payload_bytes &&
           checksum(payload.bytes().first(header.payload_bytes)) == header.payload_checksum;
}

/// Finds out what a file is. A segment whose header is damaged is free to be filled again.
result<segment_file> look_at(const segment_directory& directory, std::uint32_t number, std::uint64_t& damaged)
{
    segment_file segment;
    segment.number = number;
    result<io::unique_fd> file = directory.open(number);
    if (!file)
        return file.error();
    segment.file = std::move(*file);
    const result<std::uint64_t> bytes = file_bytes(segment.file);
    if (!bytes)
        return bytes.error();
    segment.bytes = *bytes / block_bytes * block_bytes;

    block_reader reader{segment};
    const std::byte* first = reader.read(0, block_bytes);
    if (first == nullptr)
        return segment;
    const block_view block{first, block_bytes};
    const auto header = parse_segment_header(block);
    if (header && header->number == number) {
        segment.state = segment_state::sealed;
        segment.life = header->life;
        segment.order = header->order;
    } else if (std::ranges::any_of(block, [](std::byte b) { return b != std::byte{0}; })) {
        ++damaged; // a new one is all zeros
    }
    return segment;
}

} // namespace

segment_contents scan(const segment_file& segment)
{
    segment_contents contents;
    block_reader reader{segment};
    bool sealed = false;
    bool searching = false; // where a header should be, there is none
    std::uint64_t ahead = window_bytes;
    std::vector<record_header> objects;
    for (std::uint64_t offset = block_bytes; offset + block_bytes <= segment.bytes && !sealed;) {
        const std::byte* at = reader.read(offset, ahead);
        auto header = at != nullptr ? parse_record_header(block_view{at, block_bytes}) : std::nullopt;
        if (!header || !belongs(*header, segment, offset)) {
            searching = true;
            ahead = window_bytes;
            offset += block_bytes;
            continue;
        }
        contents.damaged += searching ? 1 : 0;
        searching = false;
        sealed = header->kind == record_kind::end;
        offset += record_bytes(header->payload_bytes);
        ahead = header->payload_bytes < window_bytes / 4 ? window_bytes : block_bytes;
        contents.last_sequence = std::max(contents.last_sequence, header->sequence);
        if (!sealed)
            objects.push_back(std::move(*header));
    }
    for (const record_header& header : objects) {
        if (!sealed && header.kind == record_kind::object && !payload_is_whole(segment, header))
            continue; // torn: nobody was told that it is stored
        const record where{segment.number, header.offset, header.payload_bytes, header.fingerprint, header.sequence};
        for (const object_key& key : header.keys)
            contents.records.push_back({header.kind, key, where});
    }
    return contents;
}

recovered recover(const segment_directory& directory, std::uint32_t threads)
{
    recovered found;
    for (const std::uint32_t number : directory.numbers()) {
        result<segment_file> segment = look_at(directory, number, found.damaged);
        if (!segment)
            throw std::system_error(segment.error(),
                                    fmt::format("segment adapter: cannot open {}", directory.path_of(number)));
        found.last_order = std::max(found.last_order, segment->order);
        found.segments.push_back(std::move(*segment));
    }
    const auto snapshot = directory.read_snapshot();
    found.from_snapshot = snapshot && apply_snapshot(*snapshot, found);
    if (const auto failed = directory.remove_snapshot())
        throw std::system_error(failed, "segment adapter: cannot remove the snapshot");
    if (found.from_snapshot)
        return found;

    std::vector<segment_contents> contents(found.segments.size());
    std::atomic<std::size_t> next = 0;
    const auto scan_some = [&] {
        for (std::size_t i = next++; i < contents.size(); i = next++)
            if (found.segments[i].state == segment_state::sealed)
                contents[i] = scan(found.segments[i]);
    };
    std::vector<std::future<void>> scans;
    for (std::size_t i = 0; i < std::min<std::size_t>(threads, contents.size()); ++i)
        scans.push_back(std::async(std::launch::async, scan_some));
    for (std::future<void>& scanned : scans)
        scanned.get();

    for (segment_contents& c : contents) {
        std::ranges::move(c.records, std::back_inserter(found.records));
        found.last_sequence = std::max(found.last_sequence, c.last_sequence);
        found.damaged += c.damaged;
    }
    std::ranges::stable_sort(found.records, {}, [](const found_record& r) { return r.where.sequence; });
    return found;
}

} // namespace terrace::segment
