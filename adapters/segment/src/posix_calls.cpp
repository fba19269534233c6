#include "posix_calls.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace terrace::segment {

using boost::system::error_code;
using io::last_error;
using io::unique_fd;

unique_fd open_at(int at, const std::string& name, int flags)
{
    unique_fd file{::openat(at, name.c_str(), flags | O_CLOEXEC, 0644)};
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
