#include "segment_writer.hpp"

#include "posix_calls.hpp"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

namespace terrace::segment {

using boost::system::error_code;

namespace {

/// What is written in one go at most. More would only let the first wait for the last: the disk is busy with less.
constexpr std::uint64_t group_bytes = 64 << 20;
/// What is copied in one go, through memory of its own.
constexpr std::uint64_t copy_bytes = 16 << 20;
/// Memory that is kept between groups.
constexpr std::uint64_t kept_staging_bytes = 8 << 20;

error_code failure_of(std::span<const io::transfer> transfers)
{
    const auto failed = std::ranges::find_if(transfers, [](const io::transfer& t) { return t.error().failed(); });
    return failed == transfers.end() ? error_code{} : failed->error();
}

/// Whoever waits for the record hears what has become of it.
void answer(outgoing& record) noexcept
{
    if (--record.call->unwritten == 0)
        record.call->wake.cancel();
}

/// A condition variable that others find while it lives.
class known_timer {
public:
    known_timer(const asio::any_io_executor& here, asio::steady_timer*& known)
        : timer_{here, asio::steady_timer::time_point::max()},
          known_{known}
    {
        known_ = &timer_;
    }
    known_timer(const known_timer&) = delete;
    known_timer& operator=(const known_timer&) = delete;
    ~known_timer() { known_ = nullptr; }
    asio::steady_timer* operator->() noexcept { return &timer_; }

private:
    asio::steady_timer timer_;
    asio::steady_timer*& known_;
};

constexpr auto quietly = asio::as_tuple(asio::use_awaitable);

} // namespace

void segment_writer::enqueue(outgoing& record, store_call& call, std::shared_ptr<void> keep_alive)
{
    record.call = &call;
    ++call.unwritten;
    queue_.push_back(record);
    if (std::exchange(running_, true))
        return;
    // On its own, because its cancellation is nobody's: what one call is cancelled for, others may wait for.
    const auto ended = [this, keep_alive](std::exception_ptr) {
        running_ = false;
        while (!queue_.empty()) // there was no memory even to begin
            refuse_front("out of memory");
        if (ended_ != nullptr)
            ended_->cancel();
    };
    try {
        asio::co_spawn(
            call.wake.get_executor(), [this]() { return run(); }, ended);
    } catch (...) {
        running_ = false;
        queue_.pop_back();
        --call.unwritten;
        throw;
    }
}

asio::awaitable<void> segment_writer::finish(store_call& call)
{
    while (call.unwritten != 0) {
        const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none)
            withdraw(call);
        if (call.unwritten != 0)
            co_await call.wake.async_wait(quietly);
    }
}

/// An erasure stays: the object has left the index already, and would be back after a crash.
void segment_writer::withdraw(store_call& call)
{
    for (auto at = queue_.begin(); at != queue_.end();) {
        outgoing& record = *at++;
        if (record.call == &call && record.kind == record_kind::object) {
            queue_.erase(queue_.iterator_to(record));
            --call.unwritten;
        }
    }
}

void segment_writer::reader_left()
{
    if (drained_ != nullptr)
        drained_->cancel();
}

asio::awaitable<void> segment_writer::finish()
{
    const asio::any_io_executor here = co_await asio::this_coro::executor;
    known_timer ended{here, ended_};
    while (running_)
        co_await ended->async_wait(quietly);
}

/// There is no room for the first in the queue, if it is still there.
void segment_writer::refuse_front(std::string_view why, const error_code& by_disk) noexcept
{
    if (queue_.empty())
        return;
    outgoing& record = queue_.front();
    queue_.pop_front();
    const bool is_object = record.kind == record_kind::object;
    std::string problem;
    try {
        const std::string key = record.keys.front().to_string();
        problem = is_object ? fmt::format("storing {}: {}", key, why)
                            : fmt::format("erasing {}, which may be back after a crash: {}", key, why);
    } catch (const std::bad_alloc&) { // it is counted, and says nothing
    }
    if (is_object)
        health_.store_refused(std::move(problem));
    else
        health_.note_problem(std::move(problem));
    record.failed = by_disk;
    answer(record);
}

asio::awaitable<void> segment_writer::run()
{
    const asio::any_io_executor here = co_await asio::this_coro::executor;
    co_await asio::post(here, asio::use_awaitable); // what arrives in the same turn goes along
    while (!queue_.empty()) {
        try {
            co_await write_all();
        } catch (const std::bad_alloc&) { // what was taken off the queue is settled; the next may need less
            refuse_front("out of memory");
        } catch (const std::exception& e) {
            refuse_front(e.what());
        }
    }
}

/// Writes one group, or moves on to the next segment for the first in the queue.
asio::awaitable<void> segment_writer::write_all()
{
    segment_file* const segment = log_.filling();
    if (segment == nullptr || room_for_records(*segment) < queue_.front().bytes()) {
        const bool begun = co_await begin_segment(queue_.front().bytes());
        if (!begun)
            co_return;
    }
    write_group group{*log_.filling()};
    error_code failed;
    try {
        failed = co_await write_waiting(group);
    } catch (const std::bad_alloc&) {
        failed = make_error_code(boost::system::errc::not_enough_memory);
    }
    settle(group, failed);
    if (failed)
        co_await leave_bad_place(failed);
}

/// As many as fit into one group. What it has taken off the queue is in the group, also if it throws.
asio::awaitable<error_code> segment_writer::write_waiting(write_group& group)
{
    while (!queue_.empty() && group.add(queue_.front(), group_bytes)) {
        queue_.front().sequence = log_.next_sequence();
        queue_.pop_front();
    }
    if (group.records().empty())
        co_return error_code{}; // whoever the segment was begun for was cancelled meanwhile
    const error_code failed = co_await write(group);
    if (!failed)
        log_.publish(group);
    co_return failed;
}

void segment_writer::settle(const write_group& group, const error_code& failed)
{
    std::uint64_t stored = 0;
    std::uint64_t lost = 0;
    for (outgoing* record : group.records()) {
        if (record->kind == record_kind::object)
            ++(record->written ? stored : lost);
        if (!record->written && failed != asio::error::operation_aborted) // that is what close() says
            record->failed = failed;
        answer(*record);
    }
    if (failed)
        health_.stores_failed(lost, fmt::format("writing segment {}: {}", log_.filling()->number, failed.message()));
    if (stored != 0)
        health_.stored();
}

/// A write to the segment that is being filled has failed. If the disk still takes what it took before, it was the
/// place, and goes on to be: the next segment is filled then. Otherwise nothing changes, or a disk that is away for a
/// while would cost a segment for each group.
asio::awaitable<void> segment_writer::leave_bad_place(error_code failed)
{
    if (stopped_ || is_full(failed) || failed == boost::system::errc::not_enough_memory)
        co_return;
    const bool elsewhere = co_await takes_writes();
    if (!elsewhere)
        co_return;
    health_.note_problem(fmt::format("writing segment {}: {}; it is not filled again until the next start",
                                     log_.filling()->number, failed.message()));
    log_.give_up_filling();
}

/// Writes again what is there: a segment's header. Before the first, one segment may be bad, and not the disk.
asio::awaitable<bool> segment_writer::takes_writes()
{
    const segment_file* const known = log_.oldest_written();
    if (known == nullptr)
        co_return !log_.has_bad();
    const aligned_buffer header{block_bytes};
    put({known->number, known->life, known->order, known->bytes}, block_place{header.bytes()});
    io::transfer again = known->write(0, header.bytes());
    const error_code failed = co_await perform(*known, std::span{&again, 1});
    co_return !failed;
}

asio::awaitable<error_code> segment_writer::write(const write_group& group)
{
    if (stopped_)
        co_return asio::error::operation_aborted;
    std::vector<io::transfer> writes;
    try {
        writes = group.lay_out(staging_);
    } catch (const std::bad_alloc&) {
        co_return make_error_code(boost::system::errc::not_enough_memory);
    }
    const error_code failed = co_await perform(*log_.filling(), writes);
    if (staging_.bytes().size() > kept_staging_bytes)
        staging_ = {};
    co_return failed;
}

asio::awaitable<error_code> segment_writer::perform(const segment_file& in, std::span<io::transfer> writes)
{
    co_await disk_.run(writes);
    const error_code failed = failure_of(writes);
    if (failed || sync_ != segment_sync::data)
        co_return failed;
    if (stopped_)
        co_return asio::error::operation_aborted;
    io::transfer sync = io::transfer::sync(in.file->get());
    co_await disk_.run(std::span{&sync, 1});
    co_return sync.error();
}

/// That there are fewer segments than the capacity allows is told, though stores go on.
void segment_writer::note_growth()
{
    const error_code why = log_.growth_failure();
    if (!why)
        health_.growth_succeeded();
    else if (is_full(why))
        health_.note_problem(fmt::format("no more than {} segments: {}", log_.segments(), why.message()));
    else
        health_.growth_failed(fmt::format("no more than {} segments: {}", log_.segments(), why.message()));
}

/// Turns to a segment that has room for the first in the queue; false if there is none, and that one has failed.
asio::awaitable<bool> segment_writer::begin_segment(std::uint64_t bytes)
{
    if (!log_.can_hold(bytes)) {
        refuse_front(fmt::format("no room for {} bytes beside what is locked", bytes));
        co_return false;
    }
    // What is locked in one segment may fill the next one, and so on all the way round.
    for (std::size_t tries = log_.segments() + 1; tries != 0; --tries) {
        if (stopped_) {
            refuse_front("closed");
            co_return false;
        }
        segment_file* next = nullptr;
        const std::function<void(std::size_t)> find = [&](std::size_t) { next = log_.find_free(); };
        co_await disk_.for_each(1, 1, find);
        note_growth();
        if (next == nullptr) { // the file system has less room than the capacity: from now on, that is the limit
            const bool reclaimed = co_await reclaim_oldest();
            if (reclaimed)
                continue;
            const error_code why = log_.growth_failure();
            if (!why) {
                refuse_front("no room beside what is locked");
                co_return false;
            }
            health_.disk_refused();
            while (!queue_.empty()) // nor is there room for the others
                refuse_front(why.message(), why);
            co_return false;
        }
        if (log_.filling() != nullptr && log_.filling()->end != 0) {
            write_group end{*log_.filling()};
            end.seal();
            (void)co_await write(end); // without it, a start after a crash takes longer
        }
        log_.fill(*next);
        if (!log_.has_spare())
            (void)co_await reclaim_oldest();
        if (log_.filling() == next && room_for_records(*next) >= bytes)
            co_return true;
    }
    refuse_front("no room beside what is locked");
    co_return false;
}

/// Makes the segment that was filled first free. False: it could not be done.
asio::awaitable<bool> segment_writer::reclaim_oldest()
{
    const std::optional<segment_log::reclaim> reclaimed = log_.begin_reclaim();
    if (!reclaimed)
        co_return false;
    const std::span<const indexed> kept = reclaimed->kept;
    for (std::size_t first = 0; first < kept.size();) {
        std::size_t n = 1;
        for (std::uint64_t bytes = kept[first].where.bytes(); first + n < kept.size(); ++n) {
            bytes += kept[first + n].where.bytes();
            if (bytes > copy_bytes)
                break;
        }
        const bool copied = co_await copy(*reclaimed->segment, kept.subspan(first, n));
        if (!copied)
            co_return false;
        first += n;
    }
    const asio::any_io_executor here = co_await asio::this_coro::executor;
    known_timer drained{here, drained_};
    while (reclaimed->segment->readers != 0)
        co_await drained->async_wait(quietly);
    co_return log_.end_reclaim(*reclaimed->segment);
}

/// Appends copies of the objects, as they lie there: whether they are right, a load finds out. False: that failed, and
/// they are where they were.
asio::awaitable<bool> segment_writer::copy(segment_file& from, std::span<const indexed> objects)
{
    if (stopped_)
        co_return false;
    std::vector<aligned_buffer> buffers;
    std::vector<io::transfer> reads;
    for (const indexed& object : objects) {
        buffers.emplace_back(object.where.bytes());
        const auto memory = buffers.back().bytes();
        reads.push_back(from.read(object.where.offset, memory.first(block_bytes), memory.subspan(block_bytes)));
    }
    co_await disk_.run(reads);

    std::vector<outgoing> copies;
    std::vector<indexed> sources;
    for (std::size_t i = 0; i < objects.size(); ++i) {
        const indexed& object = objects[i];
        const auto memory = buffers[i].bytes();
        const auto header = parse_record_header(block_view{memory.first<block_bytes>()});
        const bool is_it = !reads[i].error() && reads[i].bytes() == memory.size() && header &&
                           header->life == from.life && header->sequence == object.where.sequence &&
                           header->keys.size() == 1 && header->keys[0] == object.key &&
                           header->payload_bytes == object.where.payload_bytes;
        if (!is_it) {
            log_.remove_damaged(object.key, object.where);
            continue;
        }
        outgoing& copied = copies.emplace_back();
        copied.keys = header->keys;
        copied.fingerprint = header->fingerprint;
        copied.payload = memory.subspan(block_bytes, header->payload_bytes);
        copied.payload_checksum = header->payload_checksum;
        copied.sequence = header->sequence;
        sources.push_back(object);
    }
    if (copies.empty())
        co_return true;
    write_group group{*log_.filling()};
    for (outgoing& copied : copies)
        if (!group.add(copied, UINT64_MAX))
            co_return false;
    const error_code failed = co_await write(group);
    if (failed) {
        health_.note_problem(fmt::format("writing segment {}: {}", log_.filling()->number, failed.message()));
        co_await leave_bad_place(failed);
        co_return false;
    }
    log_.publish_copies(group, sources);
    co_return true;
}

} // namespace terrace::segment
