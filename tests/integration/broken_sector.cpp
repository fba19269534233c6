#include "integration/broken_sector.hpp"

#include <algorithm>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <vector>

namespace terrace::test {

namespace {

std::atomic<broken_sector*> broken = nullptr;

} // namespace

broken_sector::broken_sector(const std::filesystem::path& file, std::uint64_t offset, int error)
    : offset_{offset},
      error_{error}
{
    ::stat(file.c_str(), &file_);
    broken = this;
}

broken_sector::~broken_sector()
{
    broken = nullptr;
}

std::uint64_t broken_sector::readable(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept
{
    struct stat of {};
    const bool is_it = ::fstat(fd, &of) == 0 && of.st_dev == file_.st_dev && of.st_ino == file_.st_ino;
    if (!is_it || offset + bytes <= offset_ || offset >= offset_ + sector_bytes)
        return bytes;
    if (offset < offset_)
        return offset_ - offset;
    ++failures_;
    was_direct_ = (::fcntl(fd, F_GETFL) & O_DIRECT) != 0;
    return 0;
}

} // namespace terrace::test

/// In place of the C library's.
extern "C" ssize_t preadv64(int fd, const iovec* parts, int count, off64_t offset)
{
    std::vector<iovec> wanted{parts, parts + count};
    if (auto* const sector = terrace::test::broken.load(); sector != nullptr) {
        std::uint64_t bytes = 0;
        for (const iovec& part : wanted)
            bytes += part.iov_len;
        std::uint64_t left = sector->readable(fd, static_cast<std::uint64_t>(offset), bytes);
        if (left == 0 && bytes != 0) {
            errno = sector->error();
            return -1;
        }
        for (iovec& part : wanted) {
            part.iov_len = std::min<std::uint64_t>(part.iov_len, left);
            left -= part.iov_len;
        }
    }
    return ::syscall(SYS_preadv, fd, wanted.data(), wanted.size(), offset, 0);
}
extern "C" ssize_t preadv(int fd, const iovec* parts, int count, off_t offset)
{
    return preadv64(fd, parts, count, offset);
}
