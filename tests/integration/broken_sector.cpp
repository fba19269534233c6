#include "integration/broken_sector.hpp"

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

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

int broken_sector::error_of(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept
{
    struct stat of {};
    if (::fstat(fd, &of) != 0 || of.st_dev != file_.st_dev || of.st_ino != file_.st_ino || offset_ < offset ||
        offset_ - offset >= bytes)
        return 0;
    ++reads_;
    return error_;
}

} // namespace terrace::test

/// In place of the C library's.
extern "C" ssize_t preadv64(int fd, const iovec* parts, int count, off64_t offset)
{
    std::uint64_t bytes = 0;
    for (int i = 0; i < count; ++i)
        bytes += parts[i].iov_len;
    auto* sector = terrace::test::broken.load();
    if (sector != nullptr)
        if (const int error = sector->error_of(fd, static_cast<std::uint64_t>(offset), bytes); error != 0) {
            errno = error;
            return -1;
        }
    return ::syscall(SYS_preadv, fd, parts, count, offset, 0);
}
extern "C" ssize_t preadv(int fd, const iovec* parts, int count, off_t offset)
{
    return preadv64(fd, parts, count, offset);
}
