#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <sys/stat.h>

namespace terrace::test {

/// While it lives, this process cannot write to a part of a file by pwritev(): one at a time. io_uring does not know of
/// it.
class unwritable_range {
public:
    explicit unwritable_range(const std::filesystem::path& file, std::uint64_t offset = 0,
                              std::uint64_t bytes = UINT64_MAX, int error = EIO);
    unwritable_range(const unwritable_range&) = delete;
    unwritable_range& operator=(const unwritable_range&) = delete;
    ~unwritable_range();

    /// How often somebody tried.
    [[nodiscard]] int writes() const noexcept { return writes_; }

    /// The error for this write; 0: it may be made.
    [[nodiscard]] int error_of(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept;

private:
    struct stat file_ {};
    std::uint64_t offset_;
    std::uint64_t bytes_;
    int error_;
    std::atomic<int> writes_ = 0;
};

} // namespace terrace::test
