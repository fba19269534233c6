#pragma once

#include <filesystem>

#include <terrace/io/unique_fd.hpp>

namespace terrace::bench {

/// A directory of its own below another one, "terrace-bench-" and the process's number, which goes with all that is in
/// it. What a process that is gone has left beside it goes too.
class scratch_directory {
public:
    explicit scratch_directory(const std::filesystem::path& parent);
    scratch_directory(const scratch_directory&) = delete;
    scratch_directory& operator=(const scratch_directory&) = delete;
    ~scratch_directory();

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

private:
    std::filesystem::path path_;
    io::unique_fd locked_; // while it lives
};

} // namespace terrace::bench
