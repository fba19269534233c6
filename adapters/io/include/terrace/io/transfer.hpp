#pragma once

#include <array>
#include <boost/system/error_code.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <sys/uio.h>

namespace terrace::io {

/// One read or write of a file, of any size, from or into one or two pieces of memory; or a flush of one.
///
/// The file and the memory stay until it has ended: it owns neither. It is run once.
class transfer {
public:
    /// What is left to do, as one system call takes it: head and body one after the other, at most 1 GiB together.
    /// Linux moves at most 2 GiB - 4 KiB in a call; half of that is no slower and leaves no doubt.
    struct call {
        enum class kind : std::uint8_t { read, write, sync };
        kind what = kind::sync;
        int fd = -1;
        std::uint64_t offset = 0;
        std::array<iovec, 2> parts{}; ///< the first `count` of them are not empty
        std::uint32_t count = 0;
        std::uint64_t bytes = 0; ///< of all parts
    };
    static constexpr std::uint64_t max_call_bytes = std::uint64_t{1} << 30;

    [[nodiscard]] static transfer read(int fd, std::uint64_t offset, std::span<std::byte> head,
                                       std::span<std::byte> body = {}) noexcept;
    [[nodiscard]] static transfer write(int fd, std::uint64_t offset, std::span<const std::byte> head,
                                        std::span<const std::byte> body = {}) noexcept;
    /// Until what was written is on the disk, with what it takes to find it: fdatasync.
    [[nodiscard]] static transfer sync(int fd) noexcept;

    /// Moved. Fewer than were asked for, and no error: a read met the end of the file.
    [[nodiscard]] std::uint64_t bytes() const noexcept { return done_; }
    /// Why it ended before its end. operation_aborted: it was not begun, by cancellation or not yet.
    [[nodiscard]] boost::system::error_code error() const noexcept { return error_; }

    /// Does it in the calling thread.
    void perform() noexcept;

    // ---- for those who perform it in another way ----

    /// The call that is to be made now.
    [[nodiscard]] call next() const noexcept;
    /// What that came to: bytes, or -errno. True: there is another one to make.
    [[nodiscard]] bool note(std::int64_t result) noexcept;

private:
    transfer(call::kind what, int fd, std::uint64_t offset, iovec head, iovec body) noexcept;

    call::kind what_;
    int fd_;
    std::uint64_t offset_;
    iovec head_;
    iovec body_;
    std::uint64_t done_ = 0;
    boost::system::error_code error_;
};

/// Whether a read failed for what lies there, as a later one will: a broken sector, and not want of memory or files.
[[nodiscard]] bool is_media_error(const boost::system::error_code& why) noexcept;

} // namespace terrace::io
