#include "l1/memory_file.hpp"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace terrace {
namespace {

[[noreturn]] void fail(std::string_view what)
{
    throw std::system_error(errno, std::system_category(), std::string{what});
}

int create(page_kind kind)
{
    const unsigned flags = kind == page_kind::reserved_huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0;
    return ::memfd_create("terrace-l1", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
}

} // namespace

memory_file::memory_file(page_kind kind) : fd_{create(kind)}, kind_{kind}
{
    if (fd_ == -1)
        fail("cannot create a file in memory for L1");
    // A process that made it shorter would have every other one killed that touches what is gone.
    (void)::fcntl(fd_, F_ADD_SEALS, F_SEAL_SHRINK);
}

memory_file::~memory_file()
{
    ::close(fd_);
}

void memory_file::extend_to(std::uint64_t bytes)
{
    struct ::stat now {};
    if (::fstat(fd_, &now) == 0 && static_cast<std::uint64_t>(now.st_size) >= bytes)
        return; // an earlier attempt came this far
    if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0)
        fail(fmt::format("cannot extend L1's file to {} bytes", bytes));
}

void memory_file::discard(std::uint64_t offset, std::uint64_t bytes) noexcept
{
    (void)::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                      static_cast<off_t>(bytes));
}

void memory_file::seal_length() noexcept
{
    (void)::fcntl(fd_, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL);
}

} // namespace terrace
