#include "segment_log.hpp"

#include <algorithm>
#include <random>

#include "recovery.hpp"
#include "snapshot.hpp"

namespace terrace::segment {

using boost::system::error_code;

namespace {

std::uint64_t random_number()
{
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
}

/// To be refused a segment may take a file system long, and each store that finds no room asks for one.
constexpr std::chrono::seconds pause_between_attempts{1};

/// What one segment has room for, in records.
std::uint64_t capacity_of(std::uint64_t segment_bytes)
{
    return segment_bytes - 2 * block_bytes; // its header and its end
}

} // namespace

read_hold::~read_hold()
{
    if (log_ != nullptr)
        log_->release(*segment_);
}

segment_log::segment_log(std::unique_ptr<segment_storage> storage, const log_options& options)
    : options_{options},
      storage_{std::move(storage)}
{
    recovered found = recover(*storage_, options_.threads);
    corrupt_objects_ = found.damaged.size();
    last_sequence_ = found.last_sequence;
    last_order_ = found.last_order;
    for (segment_file& segment : found.segments) {
        segment_bytes_in_all_ += segment.bytes;
        const auto at = segments_.emplace(segment.number, std::move(segment)).first;
        if (at->second.state == segment_state::open)
            filling_ = &at->second;
    }
    put(found.records, index_);
    trim();
}

/// The limit may have been larger, and a crash leaves no segment free: what it left in one that was is back.
void segment_log::trim()
{
    const auto is_over = [&](std::uint64_t more) {
        return options_.limit_bytes != 0 && segment_bytes_in_all_ + more > options_.limit_bytes;
    };
    while (is_over(0) || (is_over(options_.segment_bytes) && oldest(segment_state::free) == nullptr)) {
        segment_file* segment = oldest(segment_state::free);
        if (segment == nullptr)
            segment = oldest(segment_state::sealed);
        if (segment == nullptr) {
            if (filling_ == nullptr || !is_over(0))
                break;
            segment = std::exchange(filling_, nullptr);
        }
        evict(index_.in_segment(segment->number));
        segment->state = segment_state::free;
        if (is_over(0))
            remove(*segment);
    }
}

// ---- any thread ----

bitmap segment_log::lock(std::span<const object_key> keys)
{
    bitmap found{keys.size()};
    const std::lock_guard lock{mutex_};
    for (std::size_t i = 0; i < keys.size(); ++i)
        found.set(i, index_.lock(keys[i]));
    return found;
}

void segment_log::unlock(std::span<const object_key> keys)
{
    const std::lock_guard lock{mutex_};
    for (const object_key& key : keys)
        index_.unlock(key);
}

void segment_log::touch(const object_key& key)
{
    const std::lock_guard lock{mutex_};
    index_.touch(key);
}

std::optional<read_hold> segment_log::hold(const object_key& key, const memory_layout& layout)
{
    const std::lock_guard lock{mutex_};
    const record* where = index_.find(key);
    if (where == nullptr)
        return std::nullopt;
    if (where->layout() != layout) {
        ++corrupt_objects_;
        index_.erase(key);
        return std::nullopt;
    }
    segment_file& segment = segments_.at(where->segment);
    ++segment.readers;
    return std::optional<read_hold>{std::in_place, *this, segment, *where};
}

void segment_log::release(segment_file& segment) noexcept
{
    const std::lock_guard lock{mutex_};
    --segment.readers;
}

void segment_log::remove_damaged(const object_key& key, const record& where)
{
    const std::lock_guard lock{mutex_};
    if (index_.erase_record(key, where))
        ++corrupt_objects_;
}

void segment_log::mark_unreadable(const object_key& key, const record& where)
{
    const std::lock_guard lock{mutex_};
    if (index_.mark_unreadable(key, where))
        ++corrupt_objects_;
}

bool segment_log::keep(const object_key& key, const memory_layout& layout)
{
    const std::lock_guard lock{mutex_};
    const record* where = index_.find(key);
    if (where == nullptr || where->layout() != layout || index_.is_unreadable(key))
        return false;
    index_.touch(key);
    ++kept_objects_;
    return true;
}

bitmap segment_log::erase(std::span<const object_key> keys)
{
    bitmap erased{keys.size()};
    const std::lock_guard lock{mutex_};
    for (std::size_t i = 0; i < keys.size(); ++i)
        erased.set(i, !index_.is_locked(keys[i]) && index_.erase(keys[i]));
    return erased;
}

key_page segment_log::list(const list_cursor& cursor) const
{
    const std::lock_guard lock{mutex_};
    return index_.list(cursor);
}

/// Counts as the writer will go about it: what is left of the segment that is being filled, then those that are free,
/// of which the last is for what is kept of the oldest one, then what each of the oldest gives.
std::vector<stored_object> segment_log::lock_victims(std::uint64_t objects, std::uint64_t bytes)
{
    std::vector<stored_object> victims;
    if (options_.limit_bytes == 0 || objects == 0)
        return victims;
    const std::lock_guard lock{mutex_};
    const std::uint64_t each = record_bytes((bytes + objects - 1) / objects);
    const std::uint64_t in_one = capacity_of(options_.segment_bytes) / each;
    const auto unused =
        (options_.limit_bytes - std::min(options_.limit_bytes, segment_bytes_in_all_)) / options_.segment_bytes +
        static_cast<std::uint64_t>(std::ranges::count_if(
            segments_, [](const auto& s) { return s.second.state == segment_state::free && !s.second.bad; }));
    std::uint64_t room =
        (filling_ != nullptr ? room_for_records(*filling_) / each : 0) + (unused > 1 ? unused - 1 : 0) * in_one;

    std::vector<const segment_file*> sealed;
    for (const auto& [number, segment] : segments_)
        if (segment.state == segment_state::sealed)
            sealed.push_back(&segment);
    std::ranges::sort(sealed, {}, &segment_file::order);
    for (const segment_file* segment : sealed) {
        if (room >= objects || in_one == 0)
            break;
        const auto contents = index_.in_segment(segment->number);
        const auto choice = choose(contents, segment->bytes, capacity_of(options_.segment_bytes));
        if (!choice)
            continue;
        room += (capacity_of(options_.segment_bytes) - choice->kept_bytes) / each;
        for (const indexed& object : choice->evicted) {
            index_.lock_as_victim(object.key);
            victims.emplace_back(object.key, object.where.layout());
        }
    }
    return victims;
}

void segment_log::describe(adapter_status& status) const
{
    const std::lock_guard lock{mutex_};
    status.capacity_bytes = options_.capacity_bytes;
    status.objects = index_.objects();
    status.used_bytes = index_.used_bytes();
    status.locked_objects = index_.locked_objects();
    status.evicted_objects = evicted_objects_;
    status.corrupt_objects = corrupt_objects_;
    status.kept_objects = kept_objects_;
}

std::uint64_t segment_log::max_payload_bytes() const noexcept
{
    return capacity_of(options_.segment_bytes) - block_bytes;
}

error_code segment_log::close()
{
    snapshot_source source;
    {
        const std::lock_guard lock{mutex_};
        index_.unlock_all();
        source.objects = index_.all();
    }
    for (const auto& [number, segment] : segments_)
        source.segments.push_back(&segment);
    source.last_sequence = last_sequence_;
    source.last_order = last_order_;
    const std::vector<std::byte> snapshot = make_snapshot(source);
    error_code failed;
    if (options_.limit_bytes == 0 || snapshot.size() <= options_.snapshot_bytes)
        failed = storage_->write_snapshot(snapshot);
    for (auto& [number, segment] : segments_)
        segment.file.reset();
    storage_->close();
    return failed;
}

// ---- the writer's ----

void segment_log::publish(const write_group& group)
{
    const std::lock_guard lock{mutex_};
    filling_->end = group.end(); // first: what the index knows is not written over
    for (outgoing* r : group.records()) {
        const record where{filling_->number, r->offset, r->payload.size(), r->fingerprint, r->sequence};
        for (const object_key& key : r->keys) {
            if (r->kind == record_kind::object)
                index_.put(key, where);
            else
                index_.erase_older(key, r->sequence);
        }
        r->written = true;
    }
}

void segment_log::publish_copies(const write_group& group, std::span<const indexed> from)
{
    const std::lock_guard lock{mutex_};
    filling_->end = group.end();
    for (std::size_t i = 0; i < group.records().size(); ++i) {
        record to = from[i].where;
        to.segment = filling_->number;
        to.offset = group.records()[i]->offset;
        (void)index_.move(from[i].key, from[i].where, to);
    }
}

bool segment_log::can_hold(std::uint64_t bytes) const
{
    if (options_.limit_bytes == 0)
        return true;
    const std::lock_guard lock{mutex_};
    const std::uint64_t usable = options_.limit_bytes / options_.segment_bytes - 1; // one is for what is copied
    return index_.locked_bytes() + bytes <= usable * capacity_of(options_.segment_bytes);
}

void segment_log::give_up_filling()
{
    const std::lock_guard lock{mutex_};
    filling_->bad = true;
    filling_->state = filling_->end == 0 ? segment_state::free : segment_state::sealed;
    filling_ = nullptr;
}

const segment_file* segment_log::oldest_written()
{
    const segment_file* const sealed = oldest(segment_state::sealed);
    if (sealed != nullptr)
        return sealed;
    return filling_ != nullptr && filling_->end != 0 ? filling_ : nullptr;
}

bool segment_log::has_bad() const
{
    return std::ranges::any_of(segments_, [](const auto& s) { return s.second.bad; });
}

/// A bad one is never free to be filled.
segment_file* segment_log::oldest(segment_state state)
{
    segment_file* found = nullptr;
    for (auto& [number, segment] : segments_)
        if (segment.state == state && !(segment.bad && state == segment_state::free) &&
            (found == nullptr || segment.order < found->order))
            found = &segment;
    return found;
}

bool segment_log::may_grow() const
{
    return options_.limit_bytes == 0 || segment_bytes_in_all_ + options_.segment_bytes <= options_.limit_bytes;
}

bool segment_log::has_spare()
{
    return oldest(segment_state::free) != nullptr || (may_grow() && !growth_failure_);
}

void segment_log::free_dead()
{
    for (segment_file* s = oldest(segment_state::sealed); s != nullptr && end_reclaim(*s);)
        s = oldest(segment_state::sealed);
}

/// A segment that is not filled again would be found by a start after a crash, when what was erased from it is known
/// from nowhere any more. If its header cannot be written either, that is so.
void segment_log::blank_bad()
{
    for (auto& [number, segment] : segments_) {
        if (!segment.bad || segment.state != segment_state::free || segment.life == 0)
            continue;
        const aligned_buffer zeros{block_bytes};
        std::ranges::fill(zeros.bytes(), std::byte{0});
        io::transfer header = segment.write(0, zeros.bytes());
        header.perform();
        io::transfer::sync(segment.file->get()).perform();
        const std::lock_guard lock{mutex_};
        segment.life = 0;
        segment.order = 0;
    }
}

clock::time_point segment_log::now() const
{
    return options_.clock ? options_.clock->now() : std::chrono::steady_clock::now();
}

result<segment_file*> segment_log::grow()
{
    result<segment_file> made = make_error_code(boost::system::errc::file_exists);
    for (std::uint32_t number = 1; !made && made.error() == boost::system::errc::file_exists; ++number)
        if (!segments_.contains(number)) // a directory may have the name
            made = storage_->create(number, options_.segment_bytes);
    if (!made)
        return made.error();
    const std::lock_guard lock{mutex_};
    segment_bytes_in_all_ += made->bytes;
    return &segments_.emplace(made->number, std::move(*made)).first->second;
}

void segment_log::remove(segment_file& segment)
{
    (void)storage_->remove(segment.number);
    const std::lock_guard lock{mutex_};
    segment_bytes_in_all_ -= segment.bytes;
    segments_.erase(segment.number);
}

/// Free segments are filled in the order in which they were filled before: what was erased from one of them may be
/// known only from another, later one. See docs/formats/segment.md.
segment_file* segment_log::find_free()
{
    free_dead();
    blank_bad();
    for (;;) {
        segment_file* free = oldest(segment_state::free);
        if (free != nullptr && free->bytes != options_.segment_bytes) { // of an earlier process with other options
            remove(*free);
            continue;
        }
        if (!may_grow()) {
            growth_failure_ = {};
            return free;
        }
        if (growth_failure_ ? now() < grow_again_at_ : free != nullptr)
            return free;
        const result<segment_file*> grown = grow();
        growth_failure_ = grown ? error_code{} : grown.error();
        grow_again_at_ = now() + pause_between_attempts;
        return grown ? *grown : free;
    }
}

void segment_log::fill(segment_file& next)
{
    const std::uint64_t life = random_number();
    const std::lock_guard lock{mutex_};
    if (filling_ != nullptr)
        filling_->state = segment_state::sealed;
    next.state = segment_state::open;
    next.life = life;
    next.order = ++last_order_;
    next.end = 0;
    filling_ = &next;
}

void segment_log::evict(std::span<const indexed> objects)
{
    for (const indexed& object : objects)
        index_.erase(object.key);
    evicted_objects_ += objects.size();
}

std::optional<segment_log::reclaim> segment_log::begin_reclaim()
{
    segment_file* segment = oldest(segment_state::sealed);
    if (segment == nullptr)
        return std::nullopt;
    const std::lock_guard lock{mutex_};
    const auto contents = index_.in_segment(segment->number);
    auto choice = choose(contents, segment->bytes, filling_ != nullptr ? room_for_records(*filling_) : 0);
    if (!choice)
        return std::nullopt;
    evict(choice->evicted);
    return reclaim{segment, std::move(choice->kept)};
}

bool segment_log::end_reclaim(segment_file& segment)
{
    const std::lock_guard lock{mutex_};
    if (segment.readers != 0 || !index_.is_dead(segment.number))
        return false;
    segment.state = segment_state::free;
    return true;
}

} // namespace terrace::segment
