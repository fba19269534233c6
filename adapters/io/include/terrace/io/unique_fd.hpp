#pragma once

#include <boost/system/error_code.hpp>
#include <utility>

namespace terrace::io {

/// What the last system call failed with.
[[nodiscard]] boost::system::error_code last_error() noexcept;

/// Owns a file descriptor.
class unique_fd {
public:
    unique_fd() noexcept = default;
    explicit unique_fd(int fd) noexcept : fd_{fd} {}
    unique_fd(unique_fd&& from) noexcept : fd_{std::exchange(from.fd_, -1)} {}
    unique_fd& operator=(unique_fd from) noexcept
    {
        std::swap(fd_, from.fd_);
        return *this;
    }
    ~unique_fd() { close(); }

    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] bool is_open() const noexcept { return fd_ != -1; }
    void close() noexcept;                                    ///< whatever its error: who must know it, asks before
    int release() noexcept { return std::exchange(fd_, -1); } ///< to another owner

private:
    int fd_ = -1;
};

} // namespace terrace::io
