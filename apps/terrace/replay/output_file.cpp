#include "replay/output_file.hpp"

#include <cerrno>
#include <fmt/format.h>
#include <system_error>
#include <unistd.h>

namespace terrace::replay {

namespace fs = std::filesystem;

output_file::output_file(fs::path path) : path_{std::move(path)}
{
    std::error_code ignored;
    const auto there = fs::symlink_status(path_, ignored).type();
    if (there == fs::file_type::not_found || there == fs::file_type::regular)
        temporary_ = fmt::format("{}.tmp-{}", path_.string(), ::getpid());
    errno = 0;
    out_.open(temporary_.empty() ? path_ : temporary_, std::ios::binary);
    if (!out_)
        fail("cannot be opened for writing");
}

output_file::~output_file()
{
    std::error_code ignored;
    if (!temporary_.empty())
        fs::remove(temporary_, ignored);
}

void output_file::commit()
{
    errno = 0;
    out_.close(); // which flushes
    if (!out_)
        fail("cannot be written");
    if (temporary_.empty())
        return;
    std::error_code failure;
    fs::rename(temporary_, path_, failure);
    if (failure)
        throw std::system_error(failure, fmt::format("{}: cannot be written", path_.string()));
    temporary_.clear();
}

void output_file::fail(const char* what) const
{
    const int cause = errno != 0 ? errno : EIO;
    throw std::system_error(cause, std::generic_category(), fmt::format("{}: {}", path_.string(), what));
}

} // namespace terrace::replay
