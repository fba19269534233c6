#pragma once

#include <filesystem>

#include "posix_calls.hpp"
#include "segment_storage.hpp"

namespace terrace::segment {

/// Segments in files of their own, in one directory.
class segment_directory final : public segment_storage {
public:
    /// To own it, takes the directory for this process.
    /// Throws std::system_error that names the path.
    segment_directory(std::filesystem::path path, segment_access access);

    /// Of the file system; 0: it does not say.
    [[nodiscard]] std::uint64_t file_system_bytes() const noexcept { return segment::file_system_bytes(root_); }

    [[nodiscard]] std::vector<std::uint32_t> numbers() const override;
    [[nodiscard]] result<segment_file> open(std::uint32_t number) const override;
    [[nodiscard]] result<segment_file> create(std::uint32_t number, std::uint64_t bytes) const override;
    boost::system::error_code remove(std::uint32_t number) const override;
    [[nodiscard]] std::optional<std::vector<std::byte>> read_snapshot() const override;
    boost::system::error_code write_snapshot(std::span<const std::byte> bytes) const override;
    boost::system::error_code remove_snapshot() const override;
    [[nodiscard]] std::string path_of(std::uint32_t number) const override;
    void close() noexcept override;

private:
    [[noreturn]] void fail(boost::system::error_code why, const char* what, const std::string& where) const;

    std::filesystem::path path_;
    segment_access access_;
    io::unique_fd root_;
    io::unique_fd lock_;
};

/// Makes it if it is not there. Throws std::system_error that names the path.
void make_directory(const std::filesystem::path& path);

/// The number in a segment's name; none: it is no segment's.
[[nodiscard]] std::optional<std::uint32_t> segment_number_of(const std::string& name);

} // namespace terrace::segment
