#include "posix_calls.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <iterator>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utility>

namespace terrace::segment {

using boost::system::error_code;
using io::last_error;
using io::unique_fd;

unique_fd open_at(int at, const std::string& name, int flags)
{
    unique_fd file{::openat(at, name.c_str(), flags | O_CLOEXEC, 0600)};
    return file;
}

unique_fd open_direct(int at, const std::string& name, int flags)
{
    unique_fd file = open_at(at, name, flags | O_DIRECT);
    if (!file.is_open() && errno == EINVAL)
        file = open_at(at, name, flags & ~O_EXCL); // it has been made by then
    return file;
}

error_code take_room(const unique_fd& file, std::uint64_t bytes)
{
    const auto length = static_cast<off_t>(bytes);
    while (::fallocate(file.get(), 0, 0, length) != 0) {
        if (errno == EOPNOTSUPP)
            return ::ftruncate(file.get(), length) == 0 ? error_code{} : last_error();
        if (errno != EINTR)
            return last_error();
    }
    return {};
}

bool is_full(const error_code& failed) noexcept
{
    return failed == boost::system::errc::no_space_on_device || failed == boost::system::errc::file_too_large ||
           failed == error_code{EDQUOT, boost::system::system_category()};
}

bool has_room(const unique_fd& directory, std::uint64_t bytes) noexcept
{
    struct statvfs all {};
    return ::fstatvfs(directory.get(), &all) != 0 || all.f_blocks == 0 || bytes / all.f_frsize <= all.f_bfree;
}

std::uint64_t file_system_bytes(const unique_fd& directory) noexcept
{
    struct statvfs all {};
    return ::fstatvfs(directory.get(), &all) == 0 ? all.f_blocks * all.f_frsize : 0;
}

std::uint64_t allow_files(std::uint64_t more)
{
    std::error_code none;
    const auto open = static_cast<std::uint64_t>(std::distance(
        std::filesystem::directory_iterator{"/proc/self/fd", none}, std::filesystem::directory_iterator{}));
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return more;
    if (limit.rlim_cur < open + more) {
        const rlim_t before = std::exchange(limit.rlim_cur, std::min<rlim_t>(limit.rlim_max, open + more));
        if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
            limit.rlim_cur = before;
    }
    return limit.rlim_cur - std::min<rlim_t>(limit.rlim_cur, open);
}

error_code lock(const unique_fd& file)
{
    while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0)
        if (errno != EINTR)
            return last_error();
    return {};
}

result<std::uint64_t> bytes_of(const unique_fd& file)
{
    const off_t end = ::lseek(file.get(), 0, SEEK_END);
    if (end < 0)
        return last_error();
    return static_cast<std::uint64_t>(end);
}

} // namespace terrace::segment
