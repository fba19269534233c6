#include "integration/unwritable_range.hpp"

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace terrace::test {

namespace {

std::atomic<unwritable_range*> unwritable = nullptr;

} // namespace

unwritable_range::unwritable_range(const std::filesystem::path& file, std::uint64_t offset, std::uint64_t bytes,
                                   int error)
    : offset_{offset},
      bytes_{bytes},
      error_{error}
{
    ::stat(file.c_str(), &file_);
    unwritable = this;
}

unwritable_range::~unwritable_range()
{
    unwritable = nullptr;
}

int unwritable_range::error_of(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept
{
    struct stat of {};
    const bool touches = offset < offset_ ? offset_ - offset < bytes : offset - offset_ < bytes_;
    if (!touches || ::fstat(fd, &of) != 0 || of.st_dev != file_.st_dev || of.st_ino != file_.st_ino)
        return 0;
    ++writes_;
    return error_;
}

} // namespace terrace::test

/// In place of the C library's.
extern "C" ssize_t pwritev64(int fd, const iovec* parts, int count, off64_t offset)
{
    std::uint64_t bytes = 0;
    for (int i = 0; i < count; ++i)
        bytes += parts[i].iov_len;
    auto* range = terrace::test::unwritable.load();
    if (range != nullptr)
        if (const int error = range->error_of(fd, static_cast<std::uint64_t>(offset), bytes); error != 0) {
            errno = error;
            return -1;
        }
    return ::syscall(SYS_pwritev, fd, parts, count, offset, 0);
}
extern "C" ssize_t pwritev(int fd, const iovec* parts, int count, off_t offset)
{
    return pwritev64(fd, parts, count, offset);
}
