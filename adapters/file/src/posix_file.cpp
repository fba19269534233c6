#include "posix_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

namespace terrace::file {

using boost::system::error_code;

namespace {

file_facts facts_of(const struct stat& s)
{
    file_facts facts;
    facts.regular = S_ISREG(s.st_mode);
    facts.bytes = static_cast<std::uint64_t>(s.st_size);
    facts.modified_ns = std::int64_t{s.st_mtim.tv_sec} * 1'000'000'000 + s.st_mtim.tv_nsec;
    facts.device = s.st_dev;
    facts.inode = s.st_ino;
    facts.links = s.st_nlink;
    return facts;
}

result<unique_fd> open_at(int at, const std::string& path, int flags)
{
    unique_fd file{::openat(at, path.c_str(), flags | O_CLOEXEC)};
    if (!file.is_open())
        return last_error();
    return file;
}

/// Linux moves at most 2 GiB - 4 KiB in a call; half of that is no slower and leaves no doubt.
constexpr std::size_t bytes_per_call = std::size_t{1} << 30;

using vector_call = ssize_t (*)(int, const iovec*, int, off_t);

/// Moves both parts to or from the start of the file, in as many calls as it takes. Stops early at the end of the file.
result<std::uint64_t> transfer(vector_call move, int fd, iovec head, iovec body)
{
    std::uint64_t done = 0;
    std::array parts{head, body};
    while (parts[0].iov_len + parts[1].iov_len != 0) {
        std::array now{parts};
        now[1].iov_len = std::min(now[1].iov_len, bytes_per_call);
        const ssize_t n = move(fd, now.data(), static_cast<int>(now.size()), static_cast<off_t>(done));
        if (n == 0)
            break;
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return last_error();
        }
        done += static_cast<std::uint64_t>(n);
        auto rest = static_cast<std::size_t>(n);
        for (iovec& part : parts) {
            const std::size_t taken = std::min(rest, part.iov_len);
            part.iov_base = static_cast<std::byte*>(part.iov_base) + taken;
            part.iov_len -= taken;
            rest -= taken;
        }
    }
    return done;
}

struct close_directory {
    void operator()(DIR* d) const noexcept { ::closedir(d); }
};

} // namespace

error_code last_error() noexcept
{
    return {errno, boost::system::system_category()};
}

void unique_fd::close() noexcept
{
    if (fd_ != -1)
        ::close(std::exchange(fd_, -1)); // its error: see temporary_file::write()
}

result<file_facts> look_at(int at, const std::string& path)
{
    struct stat s;
    if (::fstatat(at, path.c_str(), &s, AT_SYMLINK_NOFOLLOW) != 0)
        return last_error();
    return facts_of(s);
}

result<file_facts> look_at(const unique_fd& file)
{
    struct stat s;
    if (::fstat(file.get(), &s) != 0)
        return last_error();
    return facts_of(s);
}

result<unique_fd> open_for_reading(int at, const std::string& path)
{
    return open_at(at, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK); // a FIFO would wait for its writer
}

result<unique_fd> open_directory(int at, const std::string& path)
{
    return open_at(at, path, O_RDONLY | O_DIRECTORY);
}

error_code unlink(int at, const std::string& path)
{
    return ::unlinkat(at, path.c_str(), 0) == 0 ? error_code{} : last_error();
}

result<std::vector<std::string>> names_in(int at, const std::string& path)
{
    result<unique_fd> directory = open_directory(at, path);
    if (!directory)
        return directory.error();
    const std::unique_ptr<DIR, close_directory> stream{::fdopendir(directory->get())};
    if (!stream)
        return last_error();
    directory->release(); // the stream has it now

    std::vector<std::string> names;
    for (;;) {
        errno = 0;
        const dirent* entry = ::readdir(stream.get());
        if (entry == nullptr)
            break;
        std::string name = entry->d_name;
        if (name != "." && name != "..")
            names.push_back(std::move(name));
    }
    if (errno != 0)
        return last_error();
    return names;
}

result<std::uint64_t> read_from_start(const unique_fd& file, std::span<std::byte> head, std::span<std::byte> body)
{
    return transfer(&::preadv, file.get(), {head.data(), head.size()}, {body.data(), body.size()});
}

error_code write_from_start(const unique_fd& file, std::span<const std::byte> head, std::span<const std::byte> body)
{
    // iovec serves both directions and knows no const.
    const result<std::uint64_t> written =
        transfer(&::pwritev, file.get(), {const_cast<std::byte*>(head.data()), head.size()},
                 {const_cast<std::byte*>(body.data()), body.size()});
    if (!written)
        return written.error();
    if (*written != head.size() + body.size())
        return make_error_code(boost::system::errc::no_space_on_device); // a write of nothing: POSIX names no cause
    return {};
}

} // namespace terrace::file
