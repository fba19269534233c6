#include "write_group.hpp"

#include <algorithm>
#include <cstring>

namespace terrace::segment {

namespace {

/// To copy less than this costs less than a write of its own.
constexpr std::uint64_t least_direct_bytes = 64 * 1024;

/// The part of a payload that is written from where it is. The rest is less than a block, or all of it.
std::uint64_t direct_bytes(std::span<const std::byte> payload) noexcept
{
    const bool aligned = reinterpret_cast<std::uintptr_t>(payload.data()) % block_bytes == 0;
    return aligned && payload.size() >= least_direct_bytes ? payload.size() / block_bytes * block_bytes : 0;
}

/// Puts blocks into memory one after the other.
class stager {
public:
    explicit stager(std::span<std::byte> memory) : memory_{memory} {}

    block_place block()
    {
        const auto taken = memory_.subspan(used_).first<block_bytes>();
        used_ += block_bytes;
        return taken;
    }
    void copy(std::span<const std::byte> bytes)
    {
        const auto to = memory_.subspan(used_, padded(bytes.size()));
        std::ranges::copy(bytes, to.begin());
        std::ranges::fill(to.subspan(bytes.size()), std::byte{0});
        used_ += to.size();
    }
    /// What was put since the last call of this.
    std::span<const std::byte> take()
    {
        const auto taken = memory_.subspan(taken_, used_ - taken_);
        taken_ = used_;
        return taken;
    }

private:
    std::span<std::byte> memory_;
    std::size_t used_ = 0;
    std::size_t taken_ = 0;
};

record_header header_of(const outgoing& record, const segment_file& segment)
{
    record_header header;
    header.kind = record.kind;
    header.life = segment.life;
    header.offset = record.offset;
    header.sequence = record.sequence;
    header.fingerprint = record.fingerprint;
    header.payload_bytes = record.payload.size();
    header.payload_checksum = record.payload_checksum;
    header.keys = record.keys;
    return header;
}

} // namespace

std::uint64_t room_for_records(const segment_file& segment) noexcept
{
    const std::uint64_t end = std::max<std::uint64_t>(segment.end, block_bytes);
    return segment.bytes > end + block_bytes ? segment.bytes - end - block_bytes : 0;
}

write_group::write_group(const segment_file& segment) : segment_{segment}, begin_{segment.end}, end_{segment.end} {}

bool write_group::add(outgoing& record, std::uint64_t limit)
{
    const std::uint64_t first = std::max<std::uint64_t>(begin_, block_bytes);
    const std::uint64_t so_far = empty() ? 0 : end_ - first;
    const std::uint64_t bytes = record.bytes();
    if (so_far + bytes > room_for_records(segment_) || (so_far != 0 && so_far + bytes > limit))
        return false;
    records_.push_back(&record);
    if (begin_ == 0 && empty())
        staged_bytes_ += block_bytes; // the segment's header
    record.offset = first + so_far;
    staged_bytes_ += bytes - direct_bytes(record.payload);
    end_ = record.offset + bytes;
    return true;
}

void write_group::seal()
{
    sealed_ = true;
    staged_bytes_ += block_bytes;
    end_ += block_bytes;
}

std::vector<io::transfer> write_group::lay_out(aligned_buffer& staging) const
{
    if (staging.bytes().size() < staged_bytes_)
        staging = aligned_buffer{staged_bytes_};
    stager staged{staging.bytes()};
    std::vector<io::transfer> writes;
    std::uint64_t at = begin_;
    const auto write = [&](std::span<const std::byte> direct) {
        const auto head = staged.take();
        writes.push_back(segment_.write(at, head, direct));
        at += head.size() + direct.size();
    };

    if (begin_ == 0)
        put({segment_.number, segment_.life, segment_.order, segment_.bytes}, staged.block());
    for (const outgoing* record : records_) {
        put(header_of(*record, segment_), staged.block());
        const std::uint64_t direct = direct_bytes(record->payload);
        if (direct != 0)
            write(record->payload.first(direct));
        staged.copy(record->payload.subspan(direct));
    }
    if (sealed_) {
        record_header end;
        end.life = segment_.life;
        end.offset = end_ - block_bytes;
        put(end, staged.block());
    }
    if (at != end_)
        write({});
    return writes;
}

} // namespace terrace::segment
