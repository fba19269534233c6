#pragma once

#include <boost/container/small_vector.hpp>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <span>
#include <vector>

#include <terrace/io/transfer.hpp>

#include "aligned_buffer.hpp"
#include "segment_file.hpp"
#include "segment_format.hpp"

namespace terrace::segment {

class store_call;

/// A record that is to be written. What it names stays until it is written, or is taken back.
///
/// It leaves the writer's queue by itself: its coroutine may be destroyed with its executor.
struct outgoing : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
    record_kind kind = record_kind::object;
    boost::container::small_vector<object_key, 1> keys;
    std::uint64_t fingerprint = 0;
    std::span<const std::byte> payload;
    std::uint64_t payload_checksum = 0;
    std::uint64_t sequence = 0; ///< 0: the writer gives it the next one
    store_call* call = nullptr; ///< who waits for it

    // Filled in by the writer.
    std::uint64_t offset = 0;
    bool written = false;
    boost::system::error_code failed; ///< what the disk said, if that is why it is not written

    [[nodiscard]] std::uint64_t bytes() const noexcept { return record_bytes(payload.size()); }
};

/// Records that lie next to each other in a segment, and are written together.
///
/// Headers, small payloads, and what direct I/O would not take from where it is, are copied next to each other; a large
/// payload is written from where it is. So one write takes as many small records as there are up to the next large one,
/// and that one's payload.
class write_group {
public:
    /// Starts where the segment ends so far.
    explicit write_group(const segment_file& segment);

    /// False, and nothing was added: there is no room, or it would be more than `limit` bytes. The same if it throws.
    bool add(outgoing& record, std::uint64_t limit);
    /// Adds the mark that nothing follows, for which there always is room.
    void seal();

    [[nodiscard]] bool empty() const noexcept { return end_ == begin_; }
    [[nodiscard]] std::span<outgoing* const> records() const noexcept { return records_; }
    [[nodiscard]] std::uint64_t end() const noexcept { return end_; }

    /// The writes. `staging` holds what is copied, and grows to it; it and the payloads stay until they have ended.
    [[nodiscard]] std::vector<io::transfer> lay_out(aligned_buffer& staging) const;

private:
    const segment_file& segment_;
    std::uint64_t begin_;
    std::uint64_t end_;
    std::uint64_t staged_bytes_ = 0;
    bool sealed_ = false;
    std::vector<outgoing*> records_;
};

/// Where the first record goes, and what is left for records from `end` on: the end mark has room as well.
[[nodiscard]] std::uint64_t room_for_records(const segment_file& segment) noexcept;

} // namespace terrace::segment
