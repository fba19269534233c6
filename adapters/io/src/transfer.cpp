#include <terrace/io/transfer.hpp>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <cerrno>
#include <unistd.h>

namespace terrace::io {

namespace {

/// iovec serves both directions and knows no const.
iovec to_iovec(std::span<const std::byte> bytes) noexcept
{
    return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

std::int64_t perform(const transfer::call& c) noexcept
{
    const auto offset = static_cast<off_t>(c.offset);
    const auto count = static_cast<int>(c.count);
    std::int64_t n = 0;
    switch (c.what) {
    case transfer::call::kind::read:
        n = ::preadv(c.fd, c.parts.data(), count, offset);
        break;
    case transfer::call::kind::write:
        n = ::pwritev(c.fd, c.parts.data(), count, offset);
        break;
    case transfer::call::kind::sync:
        n = ::fdatasync(c.fd);
        break;
    }
    return n < 0 ? -errno : n;
}

} // namespace

transfer::transfer(call::kind what, int fd, std::uint64_t offset, iovec head, iovec body) noexcept
    : what_{what},
      fd_{fd},
      offset_{offset},
      head_{head},
      body_{body},
      error_{boost::asio::error::operation_aborted}
{
}

transfer transfer::read(int fd, std::uint64_t offset, std::span<std::byte> head, std::span<std::byte> body) noexcept
{
    return {call::kind::read, fd, offset, to_iovec(head), to_iovec(body)};
}

transfer transfer::write(int fd, std::uint64_t offset, std::span<const std::byte> head,
                         std::span<const std::byte> body) noexcept
{
    return {call::kind::write, fd, offset, to_iovec(head), to_iovec(body)};
}

transfer transfer::sync(int fd) noexcept
{
    return {call::kind::sync, fd, 0, {}, {}};
}

transfer::call transfer::next() const noexcept
{
    call c;
    c.what = what_;
    c.fd = fd_;
    c.offset = offset_ + done_;
    std::uint64_t skip = done_;
    for (const iovec& part : {head_, body_}) {
        const std::uint64_t skipped = std::min<std::uint64_t>(skip, part.iov_len);
        const std::uint64_t taken = std::min(part.iov_len - skipped, max_call_bytes - c.bytes);
        skip -= skipped;
        if (taken == 0)
            continue;
        c.parts[c.count++] = {static_cast<std::byte*>(part.iov_base) + skipped, taken};
        c.bytes += taken;
    }
    return c;
}

bool transfer::note(std::int64_t result) noexcept
{
    if (result == -EINTR || result == -EAGAIN)
        return true;
    error_ = {};
    if (result < 0) {
        error_.assign(static_cast<int>(-result), boost::system::system_category());
        return false;
    }
    if (what_ == call::kind::sync)
        return false;
    const auto moved = static_cast<std::uint64_t>(result);
    const std::uint64_t left = head_.iov_len + body_.iov_len - done_;
    if (moved > std::min(left, max_call_bytes)) { // whoever says so speaks of another call
        error_ = make_error_code(boost::system::errc::io_error);
        return false;
    }
    done_ += moved;
    if (moved == 0 && left != 0 && what_ == call::kind::write)
        error_ = make_error_code(boost::system::errc::no_space_on_device); // POSIX names no cause
    return moved != 0 && moved != left;
}

void transfer::perform() noexcept
{
    while (note(io::perform(next()))) {
    }
}

/// What Linux says of a medium, of what guards its blocks, and of a file system that is damaged there.
bool is_media_error(const boost::system::error_code& why) noexcept
{
    constexpr std::array errors{EIO, ENODATA, EILSEQ, EBADMSG, EUCLEAN};
    return why.category() == boost::system::system_category() && std::ranges::count(errors, why.value()) != 0;
}

} // namespace terrace::io
