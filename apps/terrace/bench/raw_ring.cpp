#include "bench/raw_ring.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>

#if TERRACE_HAS_URING
#include <liburing.h>
#endif

namespace terrace::bench {

#if TERRACE_HAS_URING

namespace {

[[noreturn]] void fail(int error, const char* what)
{
    throw std::system_error(error, std::generic_category(), what);
}

class ring {
public:
    explicit ring(std::size_t depth)
    {
        if (const int failed = ::io_uring_queue_init(static_cast<unsigned>(depth), &ring_, 0); failed != 0)
            fail(-failed, "io_uring");
    }
    ring(const ring&) = delete;
    ring& operator=(const ring&) = delete;
    ~ring() { ::io_uring_queue_exit(&ring_); }

    void begin(raw_direction way, const raw_call& call)
    {
        io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
        const auto bytes = static_cast<unsigned>(call.memory.size());
        if (way == raw_direction::read)
            ::io_uring_prep_read(entry, call.fd, call.memory.data(), bytes, call.offset);
        else
            ::io_uring_prep_write(entry, call.fd, call.memory.data(), bytes, call.offset);
        ::io_uring_sqe_set_data64(entry, bytes);
    }

    /// Waits for one at least. How many ended.
    std::size_t end_some()
    {
        if (const int n = ::io_uring_submit_and_wait(&ring_, 1); n < 0 && n != -EINTR)
            fail(-n, "io_uring_submit_and_wait");
        std::size_t ended = 0;
        for (io_uring_cqe* entry = nullptr; ::io_uring_peek_cqe(&ring_, &entry) == 0; ++ended) {
            if (entry->res < 0)
                fail(-entry->res, "a transfer of io_uring");
            if (static_cast<std::uint64_t>(entry->res) != entry->user_data)
                fail(EIO, "a transfer of io_uring was cut short");
            ::io_uring_cqe_seen(&ring_, entry);
        }
        return ended;
    }

private:
    io_uring ring_{};
};

} // namespace

void make_by_ring(raw_direction way, std::span<const raw_call> calls, std::size_t depth)
{
    ring r{depth};
    std::size_t begun = 0;
    for (std::size_t ended = 0; ended < calls.size(); ended += r.end_some())
        for (; begun < std::min(ended + depth, calls.size()); ++begun)
            r.begin(way, calls[begun]);
}

bool ring_is_possible()
{
    io_uring r{};
    if (::io_uring_queue_init(1, &r, 0) != 0)
        return false;
    ::io_uring_queue_exit(&r);
    return true;
}

#else

void make_by_ring(raw_direction /*way*/, std::span<const raw_call> /*calls*/, std::size_t /*depth*/)
{
    throw std::system_error(ENOSYS, std::generic_category(), "built without liburing");
}

bool ring_is_possible()
{
    return false;
}

#endif

} // namespace terrace::bench
