#include "uring_queue.hpp"

#include <boost/asio/post.hpp>
#include <cerrno>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <system_error>
#include <tuple>
#include <unistd.h>
#include <utility>

#include "homecoming.hpp"

namespace terrace::io {

namespace {

/// What the page cache or a flush would do inside the submission is left to the kernel's own threads.
bool would_block(const transfer::call& c) noexcept
{
    return c.what == transfer::call::kind::sync || (::fcntl(c.fd, F_GETFL) & O_DIRECT) == 0;
}

void prepare_vector(io_uring_sqe* entry, const transfer::call& c, std::span<const iovec> parts) noexcept
{
    const auto count = static_cast<unsigned>(parts.size());
    switch (c.what) {
    case transfer::call::kind::read:
        ::io_uring_prep_readv(entry, c.fd, parts.data(), count, c.offset);
        break;
    case transfer::call::kind::write:
        ::io_uring_prep_writev(entry, c.fd, parts.data(), count, c.offset);
        break;
    case transfer::call::kind::sync:
        ::io_uring_prep_fsync(entry, c.fd, IORING_FSYNC_DATASYNC);
        break;
    }
}

void prepare_registered(io_uring_sqe* entry, const transfer::call& c, const iovec& part, std::uint64_t offset,
                        int piece) noexcept
{
    const auto bytes = static_cast<unsigned>(part.iov_len); // at most transfer::max_call_bytes
    if (c.what == transfer::call::kind::read)
        ::io_uring_prep_read_fixed(entry, c.fd, part.iov_base, bytes, offset, piece);
    else
        ::io_uring_prep_write_fixed(entry, c.fd, part.iov_base, bytes, offset, piece);
}

std::uint64_t name_of(std::uint32_t generation, std::uint32_t index, std::uint32_t part) noexcept
{
    return std::uint64_t{generation} << 32 | std::uint64_t{index} << 1 | part;
}

/// What one call that did both would have come to. Bytes behind a head that stopped short are moved again.
std::int64_t both(std::int64_t head, std::size_t head_bytes, std::int64_t body) noexcept
{
    if (head < 0 || static_cast<std::uint64_t>(head) != head_bytes)
        return head;
    return body < 0 ? body : head + body;
}

} // namespace

ring::ring(std::uint32_t depth)
{
    // Completions wait for the next system call of ours instead of interrupting the thread: it makes one soon enough.
    int failed = ::io_uring_queue_init(depth, &ring_, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_CLAMP);
    if (failed == -EINVAL) // before Linux 5.19
        failed = ::io_uring_queue_init(depth, &ring_, IORING_SETUP_CLAMP);
    if (failed != 0)
        throw std::system_error(-failed, std::system_category(), "io_uring");
    event_ = unique_fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    failed = event_.is_open() ? ::io_uring_register_eventfd(&ring_, event_.get()) : -errno;
    if (failed != 0) {
        ::io_uring_queue_exit(&ring_);
        throw std::system_error(-failed, std::system_category(), "io_uring: eventfd");
    }
}

uring_queue::uring_queue(std::uint32_t depth, std::uint64_t in_flight_bytes)
    : slots_(depth),
      budget_{in_flight_bytes},
      ring_{2 * depth}
{
    for (std::uint32_t i = depth; i-- != 0;)
        free_.push_back(i);
}

// ---- into the line ----

void uring_queue::add(const std::shared_ptr<client>& owner, std::span<transfer> transfers,
                      const asio::any_io_executor& here)
{
    try {
        for (transfer& t : transfers)
            enqueue(owner, t);
        if (detached_)
            return;
        home_ = uncounted(here);
        const std::lock_guard lock{handed_over_mutex_};
        wake_soon(home_);
    } catch (...) { // nothing of it has begun, for this is the executor
        std::erase(turns_, owner);
        owner->line_.clear();
        throw;
    }
}

void uring_queue::hand_over(const std::shared_ptr<client>& owner, transfer& t, const asio::any_io_executor& home)
{
    const std::lock_guard lock{handed_over_mutex_};
    wake_soon(uncounted(home)); // it cannot begin before this ends
    handed_over_.push_back({owner, &t});
}

/// What comes meanwhile is submitted with it.
void uring_queue::wake_soon(const asio::any_io_executor& home)
{
    if (waking_)
        return;
    asio::post(home, [weak = weak_from_this(), home] {
        const auto self = weak.lock();
        if (!self || self->detached_)
            return;
        self->home_ = home;
        self->take_handed_over();
        self->step();
    });
    waking_ = true;
}

void uring_queue::take_handed_over()
{
    std::vector<waiting> came;
    {
        const std::lock_guard lock{handed_over_mutex_};
        came.swap(handed_over_);
        waking_ = false;
    }
    for (const waiting& w : came)
        enqueue(w.owner, *w.what);
}

void uring_queue::enqueue(const std::shared_ptr<client>& owner, transfer& t)
{
    if (owner->left_out_ || detached_) {
        owner->ended(t);
        return;
    }
    const bool first = owner->line_.empty();
    owner->line_.push_back(&t);
    if (first)
        turns_.push_back(owner);
}

void uring_queue::leave_out(client& owner)
{
    if (detached_)
        return; // stop() does
    owner.left_out_ = true;
    std::erase_if(turns_, [&](const std::shared_ptr<client>& c) { return c.get() == &owner; });
    for (transfer* t : std::exchange(owner.line_, {}))
        owner.ended(*t);
}

// ---- into the kernel ----

void uring_queue::step()
{
    begin_what_fits();
    submit();
    watch();
}

void uring_queue::begin_what_fits()
{
    while (!free_.empty() && (!continued_.empty() || !turns_.empty())) {
        const bool continuing = !continued_.empty();
        const transfer& first = continuing ? *continued_.front().what : *turns_.front()->line_.front();
        const transfer::call c = first.next();
        if (in_flight_bytes_ != 0 && in_flight_bytes_ + c.bytes > budget_.bytes()) {
            limited_ = true;
            return;
        }
        if (continuing) {
            waiting next = std::move(continued_.front());
            continued_.pop_front();
            begin(std::move(next), c);
        } else {
            begin(take_turn(), c);
        }
    }
}

uring_queue::waiting uring_queue::take_turn()
{
    std::shared_ptr<client> owner = std::move(turns_.front());
    turns_.pop_front();
    transfer* const t = owner->line_.front();
    owner->line_.pop_front();
    if (!owner->line_.empty())
        turns_.push_back(owner);
    return {std::move(owner), t};
}

void uring_queue::begin(waiting next, const transfer::call& c)
{
    const std::uint32_t index = free_.back();
    free_.pop_back();
    slot& s = slots_[index];
    s.call = std::move(next);
    s.bytes = c.bytes;
    s.parts = c.parts;
    in_flight_bytes_ += c.bytes;
    prepare(s, index, c);
}

/// There are entries enough: the ring has two for each slot.
void uring_queue::prepare(slot& s, std::uint32_t index, const transfer::call& c)
{
    std::optional<std::uint16_t> piece;
    if (c.count != 0) {
        const iovec& last = s.parts[c.count - 1];
        piece = registered_.piece_of(last.iov_base, last.iov_len);
    }
    const std::uint32_t registered = piece ? 1 : 0;
    const std::uint32_t others = c.count - registered;
    s.entries = 0;
    if (others != 0 || !piece) {
        io_uring_sqe* const entry = ::io_uring_get_sqe(ring_.get());
        prepare_vector(entry, c, std::span{s.parts}.first(others));
        if (would_block(c))
            entry->flags |= IOSQE_ASYNC;
        ::io_uring_sqe_set_data64(entry, name_of(s.generation, index, s.entries++));
    }
    if (piece) {
        const std::uint64_t before = others == 0 ? 0 : s.parts[0].iov_len;
        io_uring_sqe* const entry = ::io_uring_get_sqe(ring_.get());
        prepare_registered(entry, c, s.parts[c.count - 1], c.offset + before, *piece);
        if (would_block(c))
            entry->flags |= IOSQE_ASYNC;
        ::io_uring_sqe_set_data64(entry, name_of(s.generation, index, s.entries++));
    }
    s.missing = s.entries;
}

void uring_queue::submit()
{
    while (::io_uring_sq_ready(ring_.get()) != 0) {
        const int n = ::io_uring_submit(ring_.get());
        if (n > 0 || n == -EINTR)
            continue;
        // The kernel has no memory or no room for it just now. Nothing is lost: it is submitted with what comes next,
        // and a step comes soon.
        if (!detached_) {
            const std::lock_guard lock{handed_over_mutex_};
            wake_soon(home_);
        }
        return;
    }
}

// ---- out of the kernel ----

void uring_queue::reap()
{
    std::uint64_t count = 0;
    std::ignore = ::read(ring_.event().get(), &count, sizeof count);
    const std::uint64_t before = in_flight_bytes_;
    std::array<io_uring_cqe*, 64> entries;
    while (const unsigned n =
               ::io_uring_peek_batch_cqe(ring_.get(), entries.data(), static_cast<unsigned>(entries.size()))) {
        for (unsigned i = 0; i < n; ++i)
            end(entries[i]->user_data, entries[i]->res);
        ::io_uring_cq_advance(ring_.get(), n);
    }
    budget_.moved(before - in_flight_bytes_, std::exchange(limited_, false), std::chrono::steady_clock::now());
}

void uring_queue::end(std::uint64_t id, std::int64_t result)
{
    const std::uint32_t index = static_cast<std::uint32_t>(id) >> 1;
    const std::uint32_t part = id & 1;
    if (index >= slots_.size())
        return; // nothing of ours
    slot& s = slots_[index];
    if (s.call.what == nullptr || s.generation != id >> 32 || part >= s.entries)
        return; // a second answer to one call: the slot has been given to another
    if (result == -ECANCELED)
        result = -EINTR; // the thread that submitted it has ended, and not what it is for
    s.results[part] = result;
    if (--s.missing != 0)
        return;
    if (s.entries == 2)
        result = both(s.results[0], s.parts[0].iov_len, s.results[1]);
    ++s.generation;
    in_flight_bytes_ -= s.bytes;
    waiting w = std::exchange(s.call, {});
    free_.push_back(index);
    if (w.what->note(result))
        continued_.push_back(std::move(w));
    else
        w.owner->ended(*w.what);
}

void uring_queue::watch()
{
    if (free_.size() == slots_.size()) {
        if (event_)
            event_->release(); // ring_ owns it
        event_.reset();
        home_ = {};
        return;
    }
    if (waiting_for_event_)
        return;
    if (!event_)
        event_.emplace(home_, ring_.event().get());
    waiting_for_event_ = true;
    event_->async_wait(asio::posix::stream_descriptor::wait_read,
                       [weak = weak_from_this()](const boost::system::error_code& failed) {
                           const auto self = weak.lock();
                           if (!self || self->detached_ || failed)
                               return;
                           self->waiting_for_event_ = false;
                           self->reap();
                           self->step();
                       });
}

// ---- the end ----

void uring_queue::detach() noexcept
{
    detached_ = true;
    if (event_)
        event_->release();
    event_.reset();
}

void uring_queue::stop() noexcept
{
    if (!detached_)
        detach();
    take_handed_over();
    for (const std::shared_ptr<client>& owner : std::exchange(turns_, {}))
        for (transfer* t : std::exchange(owner->line_, {}))
            owner->ended(*t);
    while (free_.size() != slots_.size() || !continued_.empty()) {
        begin_what_fits();
        std::ignore = ::io_uring_submit_and_wait(ring_.get(), 1); // whatever it says, there is more to wait for
        reap();
    }
}

} // namespace terrace::io
