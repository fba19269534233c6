#include <terrace/io/directories.hpp>

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <terrace/io/unique_fd.hpp>

namespace terrace::io {

namespace fs = std::filesystem;
using boost::system::error_code;

namespace {

constexpr mode_t owner_only = 0700; // prompts can be made out of what is stored

/// Whether it lies in /dev itself: /dev/shm is a file system of its own.
bool is_among_devices(const fs::path& path)
{
    std::error_code failed;
    fs::path at = fs::weakly_canonical(fs::absolute(path, failed), failed);
    if (failed || !at.string().starts_with("/dev/"))
        return false;
    while (!fs::exists(at, failed))
        at = at.parent_path();
    struct stat here {};
    struct stat devices {};
    return ::stat(at.c_str(), &here) == 0 && ::stat("/dev", &devices) == 0 && here.st_dev == devices.st_dev;
}

error_code sync(const fs::path& directory)
{
    const unique_fd opened{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    const bool done = opened.is_open() && (::fsync(opened.get()) == 0 || errno == EINVAL); // it cannot be flushed
    return done ? error_code{} : last_error();
}

} // namespace

error_code make_directories(const fs::path& path)
{
    if (is_among_devices(path))
        return make_error_code(boost::system::errc::no_such_device);
    std::error_code none;
    std::vector<fs::path> missing;
    for (fs::path at = fs::absolute(path, none); !fs::exists(at, none) && at.has_relative_path(); at = at.parent_path())
        missing.push_back(at);
    for (; !missing.empty(); missing.pop_back()) {
        const fs::path& next = missing.back();
        if (::mkdir(next.c_str(), owner_only) != 0) {
            if (errno != EEXIST)
                return last_error();
        } else if (const error_code failed = sync(next.parent_path())) {
            return failed;
        }
    }
    return {};
}

} // namespace terrace::io
