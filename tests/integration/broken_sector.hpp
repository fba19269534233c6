#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <sys/stat.h>

namespace terrace::test {

/// While it lives, this process cannot read a byte of a file by preadv(): one at a time. io_uring does not know of it.
class broken_sector {
public:
    broken_sector(const std::filesystem::path& file, std::uint64_t offset, int error = EIO);
    broken_sector(const broken_sector&) = delete;
    broken_sector& operator=(const broken_sector&) = delete;
    ~broken_sector();

    /// How often somebody tried.
    [[nodiscard]] int reads() const noexcept { return reads_; }

    /// The error for this read; 0: it may be made.
    [[nodiscard]] int error_of(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept;

private:
    struct stat file_ {};
    std::uint64_t offset_;
    int error_;
    std::atomic<int> reads_ = 0;
};

} // namespace terrace::test
