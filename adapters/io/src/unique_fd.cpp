#include <terrace/io/unique_fd.hpp>

#include <cerrno>
#include <unistd.h>

namespace terrace::io {

boost::system::error_code last_error() noexcept
{
    return {errno, boost::system::system_category()};
}

void unique_fd::close() noexcept
{
    if (fd_ != -1)
        ::close(std::exchange(fd_, -1));
}

} // namespace terrace::io
