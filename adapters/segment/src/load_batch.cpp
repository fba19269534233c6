#include "load_batch.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/error.hpp>
#include <fmt/format.h>

namespace terrace::segment {

std::optional<io::transfer> load_batch::begin(std::size_t i)
{
    const load_item& item = items_[i];
    std::optional<read_hold> hold = log_.hold(item.key, item.layout);
    if (!hold)
        return std::nullopt;
    part& p = parts_[i];
    p.hold.emplace(std::move(*hold));
    p.direct =
        reinterpret_cast<std::uintptr_t>(item.bytes.data()) % block_bytes == 0 && item.bytes.size() % block_bytes == 0;
    p.memory = aligned_buffer{p.direct ? block_bytes : record_bytes(item.bytes.size())};
    std::span<std::byte> body;
    if (p.direct)
        body = item.bytes;
    return p.hold->segment().read(p.hold->where().offset, p.memory.bytes(), body);
}

void load_batch::end(std::size_t i, const io::transfer& done)
{
    const load_item& item = items_[i];
    part& p = parts_[i];
    if (!done.error()) {
        p.loaded = done.bytes() == record_bytes(item.bytes.size()) && is_right(i);
        if (!p.loaded)
            log_.remove_damaged(item.key, p.hold->where());
        else if (!p.direct)
            std::ranges::copy(payload(i), item.bytes.begin());
        health_.loaded();
    } else if (done.error() != asio::error::operation_aborted) {
        if (io::is_media_error(done.error()))
            log_.mark_unreadable(item.key, p.hold->where());
        health_.load_failed(fmt::format("loading {}: {}", item.key.to_string(), done.error().message()));
    }
    p.memory = {};
}

std::span<const std::byte> load_batch::payload(std::size_t i) const
{
    const load_item& item = items_[i];
    if (parts_[i].direct)
        return item.bytes;
    return parts_[i].memory.bytes().subspan(block_bytes, item.bytes.size());
}

/// Every byte of the header follows from the object and its place, so it is compared with what it must be.
bool load_batch::is_right(std::size_t i) const
{
    const load_item& item = items_[i];
    const part& p = parts_[i];
    record_header header;
    header.kind = record_kind::object;
    header.life = p.hold->segment().life;
    header.offset = p.hold->where().offset;
    header.sequence = p.hold->where().sequence;
    header.fingerprint = item.layout.fingerprint();
    header.payload_bytes = item.bytes.size();
    header.payload_checksum = checksum(payload(i));
    header.keys.push_back(item.key);
    std::array<std::byte, block_bytes> expected;
    put(header, expected);
    return std::ranges::equal(expected, p.memory.bytes().first(block_bytes));
}

} // namespace terrace::segment
