#pragma once

#include <filesystem>

#include <terrace/segment_adapter.hpp>

#include "segment_format.hpp"
#include "segment_storage.hpp"

namespace terrace::segment {

/// Segments cut out of one file or block device, behind a label. It has them all from the start, and no place for a
/// snapshot.
class segment_volume final : public segment_storage {
public:
    /// To own it, takes it for this process, and cuts it into segments if there is no label and it is blank, or may be
    /// overwritten.
    ///
    /// segment_bytes  of a segment, in whole blocks; 0: as the label says, and of a new one 256 MiB or an eighth
    ///
    /// Throws std::system_error that names the path if it cannot be opened, read or written to, is smaller than its
    /// label says, or is in use; std::invalid_argument if it holds something else, is too small, or has segments of
    /// another size, or a label that is damaged or of another version, which is never overwritten.
    segment_volume(std::filesystem::path path, segment_access access, std::uint64_t segment_bytes = 0,
                   foreign_content foreign = foreign_content::refuse);

    [[nodiscard]] const volume_label& label() const noexcept { return label_; }

    [[nodiscard]] std::vector<std::uint32_t> numbers() const override;
    [[nodiscard]] result<segment_file> open(std::uint32_t number) const override;
    [[nodiscard]] result<segment_file> create(std::uint32_t number, std::uint64_t bytes) const override;
    boost::system::error_code remove(std::uint32_t number) const override;
    [[nodiscard]] std::optional<std::vector<std::byte>> read_snapshot() const override { return std::nullopt; }
    boost::system::error_code write_snapshot(std::span<const std::byte>) const override { return {}; }
    boost::system::error_code remove_snapshot() const override { return {}; }
    [[nodiscard]] std::string path_of(std::uint32_t number) const override;
    void close() noexcept override { file_.reset(); }

private:
    void own(); // opens and locks it
    [[nodiscard]] bool is_blank(std::uint64_t bytes) const;
    void cut(std::uint64_t bytes, std::uint64_t segment_bytes);
    void write(std::uint64_t offset, std::span<const std::byte> bytes) const;
    [[noreturn]] void fail(boost::system::error_code why, const std::string& what) const;

    std::filesystem::path path_;
    std::shared_ptr<const io::unique_fd> file_;
    volume_label label_;
};

/// Whether a path is a file or a block device, and so is or becomes a volume; otherwise it is or becomes a directory.
[[nodiscard]] bool is_volume_path(const std::filesystem::path& path);
/// Whether it is a volume that has a label. False also if it cannot be opened.
/// Throws std::system_error that names the path, if its first block cannot be read.
[[nodiscard]] bool is_volume(const std::filesystem::path& path);

} // namespace terrace::segment
