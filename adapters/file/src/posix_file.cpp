#include "posix_file.hpp"

#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <memory>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <terrace/io/transfer.hpp>

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

struct close_directory {
    void operator()(DIR* d) const noexcept { ::closedir(d); }
};

} // namespace

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
    io::transfer t = io::transfer::read(file.get(), 0, head, body);
    t.perform();
    if (t.error())
        return t.error();
    return t.bytes();
}

bool set_direct(const unique_fd& file, bool direct) noexcept
{
    const int flags = ::fcntl(file.get(), F_GETFL);
    return flags != -1 && ::fcntl(file.get(), F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

error_code reserve(const unique_fd& file, std::uint64_t bytes) noexcept
{
    if (::fallocate(file.get(), 0, 0, static_cast<off_t>(bytes)) == 0)
        return {};
    const error_code failed = last_error();
    namespace condition = boost::system::errc;
    if (failed == condition::no_space_on_device || failed == condition::file_too_large || failed.value() == EDQUOT)
        return failed;
    return {}; // not offered here, or interrupted: the write finds the place
}

error_code sync_directory(int at, const std::string& path)
{
    const result<unique_fd> directory = open_directory(at, path);
    if (!directory)
        return directory.error();
    return ::fsync(directory->get()) == 0 ? error_code{} : last_error();
}

bool lies_in_memory(const unique_fd& file) noexcept
{
    struct statfs s;
    return ::fstatfs(file.get(), &s) == 0 && (s.f_type == TMPFS_MAGIC || s.f_type == RAMFS_MAGIC);
}

} // namespace terrace::file
