#include <terrace/io/directories.hpp>

#include <sys/stat.h>

namespace terrace::io {

namespace fs = std::filesystem;

namespace {

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

} // namespace

boost::system::error_code make_directories(const fs::path& path)
{
    if (is_among_devices(path))
        return make_error_code(boost::system::errc::no_such_device);
    std::error_code failed;
    fs::create_directories(path, failed);
    return failed;
}

} // namespace terrace::io
