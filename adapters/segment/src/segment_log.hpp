#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <terrace/bitmap.hpp>
#include <terrace/clock.hpp>
#include <terrace/l2_adapter.hpp>

#include "reclaim.hpp"
#include "segment_file.hpp"
#include "segment_index.hpp"
#include "segment_storage.hpp"
#include "write_group.hpp"

namespace terrace::segment {

/// How large a segment_log becomes.
class log_options {
public:
    std::uint64_t capacity_bytes = 0;      ///< as the status says it
    std::uint64_t segment_bytes = 0;       ///< of new segments
    std::uint64_t limit_bytes = 0;         ///< of all segments, at least two; 0: what there is room for
    std::uint64_t snapshot_bytes = 0;      ///< the largest snapshot that is written, if there is a limit
    std::uint32_t threads = 1;             ///< that scan at start
    std::shared_ptr<terrace::clock> clock; ///< null: the machine's
};

class segment_log;

/// A load's hold on a record: while it lives, the segment is not filled again.
class read_hold {
public:
    read_hold(segment_log& log, segment_file& segment, const record& where) noexcept
        : log_{&log},
          segment_{&segment},
          where_{where}
    {
    }
    read_hold(read_hold&& from) noexcept
        : log_{std::exchange(from.log_, nullptr)},
          segment_{from.segment_},
          where_{from.where_}
    {
    }
    read_hold& operator=(read_hold&&) = delete;
    ~read_hold();

    [[nodiscard]] const segment_file& segment() const noexcept { return *segment_; }
    [[nodiscard]] const record& where() const noexcept { return where_; }

private:
    segment_log* log_;
    segment_file* segment_;
    record where_;
};

/// The segments and what lies in them.
///
/// Threads: the first part is for any thread. The second is the writer's, who calls one member at a time; what blocks
/// says so.
class segment_log {
public:
    /// Finds what the segments hold: see recover().
    segment_log(std::unique_ptr<segment_storage> storage, const log_options& options);

    [[nodiscard]] bitmap lock(std::span<const object_key> keys);
    void unlock(std::span<const object_key> keys);
    void touch(const object_key& key);

    /// Nothing: not there, or stored under another layout, in which case it is removed.
    [[nodiscard]] std::optional<read_hold> hold(const object_key& key, const memory_layout& layout);
    /// What lies there is not what should. It goes, unless something else has taken its place since.
    void remove_damaged(const object_key& key, const record& where);
    /// The disk could not read what lies there: it stays, for an outage ends, and the next store writes it anew.
    void mark_unreadable(const object_key& key, const record& where);
    /// Whether the object is there under this layout, and can be read as far as is known. If so, it was wanted again,
    /// and is counted as kept.
    [[nodiscard]] bool keep(const object_key& key, const memory_layout& layout);
    [[nodiscard]] bitmap erase(std::span<const object_key> keys); ///< leaves what is locked

    [[nodiscard]] key_page list(const list_cursor& cursor) const;
    [[nodiscard]] std::vector<stored_object> lock_victims(std::uint64_t objects, std::uint64_t bytes);

    /// Fills in capacity, objects, used and locked ones, and what was evicted, damaged and kept.
    void describe(adapter_status& status) const;
    /// The largest payload that a segment has room for.
    [[nodiscard]] std::uint64_t max_payload_bytes() const noexcept;

    /// Leaves a snapshot, and the segments. Nothing may follow it. Blocks.
    boost::system::error_code close();

    // ---- the writer's ----

    /// The segment that is being filled; null: none.
    [[nodiscard]] segment_file* filling() noexcept { return filling_; }
    [[nodiscard]] std::uint64_t next_sequence() noexcept { return ++last_sequence_; }
    /// A group was written: what it holds can be found from now on, and its records say so.
    /// If it throws, that holds of some.
    void publish(const write_group& group);
    /// A group of copies was written: so many of the objects of `from` as are still there are in the copies now.
    void publish_copies(const write_group& group, std::span<const indexed> from);

    /// Whether so much more can be written, beside what is locked.
    [[nodiscard]] bool can_hold(std::uint64_t bytes) const;
    /// The segment that is being filled has a place that cannot be written. What it holds stays, as if it were sealed;
    /// it is never filled again.
    void give_up_filling();
    /// A segment whose header was written, and can be again if any can: the oldest. Null: there is none.
    [[nodiscard]] const segment_file* oldest_written();
    [[nodiscard]] bool has_bad() const;

    /// A segment to fill next, a new one perhaps; what is dead at the old end of the log is freed for it. Null: there
    /// is none. Blocks.
    [[nodiscard]] segment_file* find_free();
    /// Why there is no larger number of segments, though there might be: the last new one was refused. It is tried
    /// again a second later.
    [[nodiscard]] const boost::system::error_code& growth_failure() const noexcept { return growth_failure_; }
    /// Fills this one from now on. The one before is sealed.
    void fill(segment_file& next);
    /// Whether there will be a segment to fill after this one.
    [[nodiscard]] bool has_spare();

    /// A segment whose objects have left the index, except those that are to be copied.
    struct reclaim {
        segment_file* segment = nullptr;
        std::vector<indexed> kept;
    };
    /// Evicts from the segment that was filled first. Nothing: there is none, or what is locked there does not fit into
    /// what is left of the one that is being filled.
    [[nodiscard]] std::optional<reclaim> begin_reclaim();
    /// Nobody reads in the segment, and nothing in it is wanted: it is free now. Otherwise false.
    [[nodiscard]] bool end_reclaim(segment_file& segment);

    [[nodiscard]] std::size_t segments() const { return segments_.size(); }

private:
    friend class read_hold;
    void release(segment_file& segment) noexcept;
    [[nodiscard]] segment_file* oldest(segment_state state);
    [[nodiscard]] bool may_grow() const;
    void trim();
    void free_dead();
    void blank_bad();
    [[nodiscard]] clock::time_point now() const;
    [[nodiscard]] result<segment_file*> grow();
    void remove(segment_file& segment);
    void evict(std::span<const indexed> objects);

    const log_options options_;
    const std::unique_ptr<segment_storage> storage_;

    mutable std::mutex mutex_;                       // for what follows; never held over a system call
    std::map<std::uint32_t, segment_file> segments_; // changed by the writer only
    segment_index index_;
    std::uint64_t segment_bytes_in_all_ = 0;
    std::uint64_t evicted_objects_ = 0;
    std::uint64_t corrupt_objects_ = 0;
    std::uint64_t kept_objects_ = 0;

    // The writer's.
    segment_file* filling_ = nullptr;
    std::uint64_t last_sequence_ = 0;
    std::uint64_t last_order_ = 0;
    boost::system::error_code growth_failure_; // of the last attempt
    clock::time_point grow_again_at_;
};

} // namespace terrace::segment
