#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <sys/stat.h>

namespace terrace::test {

/// While it lives, this process cannot read 4096 bytes of a file by preadv(): what lies before is read, the next call
/// fails. One at a time. io_uring does not know of it.
class broken_sector {
public:
    static constexpr std::uint64_t sector_bytes = 4096;

    broken_sector(const std::filesystem::path& file, std::uint64_t offset, int error = EIO);
    broken_sector(const broken_sector&) = delete;
    broken_sector& operator=(const broken_sector&) = delete;
    ~broken_sector();

    /// How many calls failed.
    [[nodiscard]] int failures() const noexcept { return failures_; }
    [[nodiscard]] int error() const noexcept { return error_; }

    /// Whether the last call that failed was past the page cache (O_DIRECT).
    [[nodiscard]] bool was_direct() const noexcept { return was_direct_; }

    /// How many bytes this call gets; 0: it fails.
    [[nodiscard]] std::uint64_t readable(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept;

private:
    struct stat file_ {};
    std::uint64_t offset_;
    int error_;
    std::atomic<int> failures_ = 0;
    std::atomic<bool> was_direct_ = false;
};

} // namespace terrace::test
