#include "segment_directory.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <new>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include <terrace/io/directories.hpp>
#include <terrace/io/transfer.hpp>

#include "posix_calls.hpp"
#include "segment_format.hpp"
#include "snapshot.hpp"

namespace terrace::segment {

using boost::system::error_code;
using io::last_error;
using io::unique_fd;

namespace {

constexpr const char* snapshot_name = "snapshot";
constexpr const char* snapshot_draft_name = "snapshot.tmp";
constexpr std::string_view segment_prefix = "segment-";

std::string name_of(std::uint32_t number)
{
    return fmt::format("{}{:06}", segment_prefix, number);
}

error_code sync_directory(const unique_fd& directory)
{
    return ::fsync(directory.get()) == 0 ? error_code{} : last_error();
}

} // namespace

std::optional<std::uint32_t> segment_number_of(const std::string& name)
{
    if (!name.starts_with(segment_prefix))
        return std::nullopt;
    std::uint32_t number = 0;
    (void)std::from_chars(name.data() + segment_prefix.size(), name.data() + name.size(), number);
    return number != 0 && name_of(number) == name ? std::optional{number} : std::nullopt;
}

void make_directory(const std::filesystem::path& path)
{
    if (const error_code failed = io::make_directories(path))
        throw std::system_error(failed, fmt::format("segment adapter: cannot make the directory {}", path.string()));
}

segment_directory::segment_directory(std::filesystem::path path, segment_access access)
    : path_{std::move(path)},
      access_{access}
{
    root_ = open_at(AT_FDCWD, path_.string(), O_RDONLY | O_DIRECTORY);
    if (!root_.is_open())
        fail(last_error(), "open", {});
    if (access_ == segment_access::look)
        return;
    lock_ = open_at(root_.get(), "lock", O_RDWR | O_CREAT);
    if (!lock_.is_open())
        fail(last_error(), "open", "lock");
    if (const error_code why = lock(lock_))
        fail(why, why == boost::system::errc::operation_would_block ? "lock, because another process has it," : "lock",
             "lock");
}

std::vector<std::uint32_t> segment_directory::numbers() const
{
    std::error_code failed;
    std::vector<std::uint32_t> found;
    for (std::filesystem::directory_iterator at{path_, failed}, end; !failed && at != end; at.increment(failed)) {
        std::error_code ignored; // then it is none
        if (at->symlink_status(ignored).type() == std::filesystem::file_type::regular)
            if (const auto number = segment_number_of(at->path().filename().string()))
                found.push_back(*number);
    }
    if (failed)
        fail(failed, "list", {});
    std::ranges::sort(found);
    return found;
}

result<segment_file> segment_directory::open(std::uint32_t number) const
{
    const int mode = access_ == segment_access::own ? O_RDWR : O_RDONLY;
    unique_fd file = open_direct(root_.get(), name_of(number), mode | O_NOFOLLOW | O_NONBLOCK);
    if (!file.is_open())
        return last_error();
    const result<std::uint64_t> bytes = bytes_of(file);
    if (!bytes)
        return bytes.error();
    segment_file segment;
    segment.number = number;
    segment.file = std::make_shared<const unique_fd>(std::move(file));
    segment.bytes = *bytes / block_bytes * block_bytes;
    return segment;
}

result<segment_file> segment_directory::create(std::uint32_t number, std::uint64_t bytes) const
{
    if (!has_room(root_, bytes))
        return make_error_code(boost::system::errc::no_space_on_device);
    unique_fd file = open_direct(root_.get(), name_of(number), O_RDWR | O_CREAT | O_EXCL);
    if (!file.is_open())
        return last_error();
    error_code failed = take_room(file, bytes);
    if (!failed)
        failed = sync_directory(root_); // once for many records, so whatever segment_sync says
    if (failed) {
        (void)remove(number);
        return failed;
    }
    segment_file segment;
    segment.number = number;
    segment.file = std::make_shared<const unique_fd>(std::move(file));
    segment.bytes = bytes;
    return segment;
}

error_code segment_directory::remove(std::uint32_t number) const
{
    return ::unlinkat(root_.get(), name_of(number).c_str(), 0) == 0 ? error_code{} : last_error();
}

std::optional<std::vector<std::byte>> segment_directory::read_snapshot() const
{
    const unique_fd file = open_at(root_.get(), snapshot_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    struct stat info {};
    if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode))
        return std::nullopt;
    const auto bytes = static_cast<std::uint64_t>(info.st_size);
    std::array<std::byte, snapshot_head_bytes> head{};
    io::transfer start = io::transfer::read(file.get(), 0, head);
    start.perform();
    if (start.bytes() != head.size() || bytes > most_snapshot_bytes(head))
        return std::nullopt;
    try {
        std::vector<std::byte> content(bytes);
        io::transfer all = io::transfer::read(file.get(), 0, content);
        all.perform();
        return !all.error() && all.bytes() == content.size() ? std::optional{std::move(content)} : std::nullopt;
    } catch (const std::bad_alloc&) { // a scan needs less at a time
        return std::nullopt;
    }
}

error_code segment_directory::write_snapshot(std::span<const std::byte> bytes) const
{
    const unique_fd file = open_at(root_.get(), snapshot_draft_name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW);
    if (!file.is_open())
        return last_error();
    io::transfer all = io::transfer::write(file.get(), 0, bytes);
    all.perform();
    error_code failed = all.error();
    if (!failed &&
        (::fdatasync(file.get()) != 0 || ::renameat(root_.get(), snapshot_draft_name, root_.get(), snapshot_name) != 0))
        failed = last_error();
    if (failed)
        (void)::unlinkat(root_.get(), snapshot_draft_name, 0);
    return failed ? failed : sync_directory(root_);
}

error_code segment_directory::remove_snapshot() const
{
    (void)::unlinkat(root_.get(), snapshot_draft_name, 0); // of somebody who died
    if (::unlinkat(root_.get(), snapshot_name, 0) != 0)
        return errno == ENOENT || errno == EISDIR ? error_code{} : last_error(); // a directory is none
    return sync_directory(root_);
}

std::string segment_directory::path_of(std::uint32_t number) const
{
    return (path_ / name_of(number)).string();
}

void segment_directory::close() noexcept
{
    root_.close();
    lock_.close();
}

void segment_directory::fail(error_code why, const char* what, const std::string& where) const
{
    throw std::system_error(why, fmt::format("segment adapter: cannot {} {}", what, (path_ / where).string()));
}

} // namespace terrace::segment
