#include "bench/scratch_directory.hpp"

#include <cerrno>
#include <charconv>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>

namespace terrace::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "terrace-bench-";

/// Whether the directory is named for a process that is not there.
bool is_of_the_dead(const std::string& name)
{
    pid_t owner = 0;
    if (!name.starts_with(prefix))
        return false;
    const char* const end = name.data() + name.size();
    const auto [rest, failed] = std::from_chars(name.data() + prefix.size(), end, owner);
    return failed == std::errc{} && rest == end && owner > 0 && ::kill(owner, 0) != 0 && errno == ESRCH;
}

io::unique_fd lock(const fs::path& directory)
{
    io::unique_fd root{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    if (root.is_open() && ::flock(root.get(), LOCK_EX | LOCK_NB) != 0)
        root.close();
    return root;
}

/// A process in another container has a number that says nothing here; but it has its lock.
void remove_if_left_over(const fs::path& directory)
{
    std::error_code ignored;
    if (!is_of_the_dead(directory.filename().string()))
        return;
    if (const io::unique_fd locked = lock(directory); locked.is_open())
        fs::remove_all(directory, ignored);
}

} // namespace

scratch_directory::scratch_directory(const fs::path& parent)
    : path_{fs::absolute(parent) / fmt::format("{}{}", prefix, ::getpid())}
{
    std::error_code none;
    for (const auto& entry : fs::directory_iterator{parent, none})
        remove_if_left_over(entry.path());
    fs::create_directories(path_);
    locked_ = lock(path_);
}

scratch_directory::~scratch_directory()
{
    std::error_code ignored;
    fs::remove_all(path_, ignored);
}

} // namespace terrace::bench
