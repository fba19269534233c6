#include "segment_volume.hpp"

#include <algorithm>
#include <chrono>
#include <fcntl.h>
#include <fmt/format.h>
#include <numeric>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <unistd.h>

#include "aligned_buffer.hpp"
#include "posix_calls.hpp"

namespace terrace::segment {

using boost::system::error_code;
using io::last_error;
using io::unique_fd;

namespace {

/// Every file system, partition table and volume manager in use has something in one of a device's ends.
constexpr std::uint64_t telling_bytes = 1 << 20;

struct first_block {
    std::optional<volume_label> label;
    bool is_label = false; // or was one
};

result<first_block> read_first_block(const unique_fd& file)
{
    const aligned_buffer block{block_bytes};
    io::transfer all = io::transfer::read(file.get(), 0, block.bytes());
    all.perform();
    if (all.error())
        return all.error();
    if (all.bytes() != block_bytes)
        return first_block{};
    const block_view content{block.bytes()};
    return first_block{parse_volume_label(content), has_label_magic(content)};
}

[[noreturn]] void fail_at(const std::filesystem::path& path, error_code why, const std::string& what)
{
    throw std::system_error(why, fmt::format("segment adapter: cannot {} {}", what, path.string()));
}

constexpr const char* read_the_label = "read the label of";

} // namespace

bool is_volume_path(const std::filesystem::path& path)
{
    std::error_code none;
    const auto type = std::filesystem::status(path, none).type();
    return type == std::filesystem::file_type::regular || type == std::filesystem::file_type::block;
}

bool is_volume(const std::filesystem::path& path)
{
    if (!is_volume_path(path))
        return false;
    const unique_fd file = open_direct(AT_FDCWD, path.string(), O_RDONLY);
    if (!file.is_open())
        return false;
    const result<first_block> first = read_first_block(file);
    if (!first)
        fail_at(path, first.error(), read_the_label);
    return first->label.has_value();
}

segment_volume::segment_volume(std::filesystem::path path, segment_access access, std::uint64_t segment_bytes,
                               foreign_content foreign)
    : path_{std::move(path)}
{
    if (access == segment_access::own) {
        own();
    } else {
        file_ = std::make_shared<const unique_fd>(open_direct(AT_FDCWD, path_.string(), O_RDONLY));
        if (!file_->is_open())
            fail(last_error(), "open");
    }
    const result<std::uint64_t> bytes = bytes_of(*file_);
    if (!bytes)
        fail(bytes.error(), "measure");

    const result<first_block> first = read_first_block(*file_);
    if (!first)
        fail(first.error(), read_the_label);
    if (first->label) {
        label_ = *first->label;
        if (*bytes < label_.bytes())
            fail(make_error_code(boost::system::errc::no_space_on_device),
                 fmt::format("use, because it has {} bytes, and its label says {},", *bytes, label_.bytes()));
        if (segment_bytes != 0 && segment_bytes != label_.segment_bytes)
            throw std::invalid_argument(fmt::format("segment adapter: segment is {} bytes, expected {}, as {} was cut",
                                                    segment_bytes, label_.segment_bytes, path_.string()));
        return;
    }
    if (first->is_label)
        throw std::invalid_argument(
            fmt::format("segment adapter: {} has a label that is damaged or of another version, and is not "
                        "overwritten; zeros in its first {} bytes make it foreign",
                        path_.string(), block_bytes));
    if (access == segment_access::look || (foreign == foreign_content::refuse && !is_blank(*bytes)))
        throw std::invalid_argument(
            fmt::format("segment adapter: {} holds something else, expected segments or nothing but zeros; "
                        "foreign=overwrite takes it all the same",
                        path_.string()));
    cut(*bytes, segment_bytes);
}

/// When a process dies, the kernel lets go of what its io_uring had open a little after the process itself.
void segment_volume::own()
{
    using namespace std::chrono_literals;
    constexpr auto patience = 1s;
    constexpr auto pause = 10ms;
    int flags = O_RDWR;
    if (std::filesystem::is_block_file(path_))
        flags |= O_EXCL; // refused if it is mounted, or part of something that is
    for (auto waited = 0ms;; waited += pause) {
        file_ = std::make_shared<const unique_fd>(open_direct(AT_FDCWD, path_.string(), flags));
        const error_code why = file_->is_open() ? lock(*file_) : last_error();
        if (!why)
            return;
        const bool taken = why == boost::system::errc::operation_would_block ||
                           (why == boost::system::errc::device_or_resource_busy && (flags & O_EXCL) != 0);
        if (!taken || waited >= patience)
            fail(why, !file_->is_open() ? "open" : taken ? "lock, because another process has it," : "lock");
        std::this_thread::sleep_for(pause);
    }
}

bool segment_volume::is_blank(std::uint64_t bytes) const
{
    const aligned_buffer part{telling_bytes};
    const std::uint64_t last = bytes > telling_bytes ? (bytes - telling_bytes) / block_bytes * block_bytes : 0;
    for (const std::uint64_t offset : {std::uint64_t{0}, last}) {
        std::ranges::fill(part.bytes(), std::byte{0});
        io::transfer all = io::transfer::read(file_->get(), offset, part.bytes());
        all.perform();
        if (all.error())
            fail(all.error(), "read");
        if (std::ranges::any_of(part.bytes(), [](std::byte b) { return b != std::byte{0}; }))
            return false;
    }
    return true;
}

/// The label last: without it, this begins anew.
void segment_volume::cut(std::uint64_t bytes, std::uint64_t segment_bytes)
{
    const std::uint64_t room = bytes > block_bytes ? bytes - block_bytes : 0;
    if (segment_bytes == 0)
        segment_bytes = std::min(default_segment_bytes, room / 8 / block_bytes * block_bytes);
    if (segment_bytes < min_segment_bytes || room / segment_bytes < 2)
        throw std::invalid_argument(fmt::format("segment adapter: {} has {} bytes, expected a block of {} and at least "
                                                "two segments of {}",
                                                path_.string(), bytes, block_bytes,
                                                std::max(segment_bytes, min_segment_bytes)));
    label_.segment_bytes = segment_bytes;
    label_.segments = static_cast<std::uint32_t>(std::min<std::uint64_t>(room / segment_bytes, UINT32_MAX));
    if (std::filesystem::is_regular_file(path_))
        if (const error_code failed = take_room(*file_, bytes))
            fail(failed, "take the room of");

    const aligned_buffer block{block_bytes};
    std::ranges::fill(block.bytes(), std::byte{0});
    for (std::uint32_t i = 0; i < label_.segments; ++i) // what lay there before is nobody's segment
        write(block_bytes + i * label_.segment_bytes, block.bytes());
    const auto flush = [&] {
        if (::fdatasync(file_->get()) != 0)
            fail(last_error(), "flush");
    };
    flush();
    put(label_, block_place{block.bytes()});
    write(0, block.bytes());
    flush();
}

void segment_volume::write(std::uint64_t offset, std::span<const std::byte> bytes) const
{
    io::transfer all = io::transfer::write(file_->get(), offset, bytes);
    all.perform();
    if (all.error())
        fail(all.error(), "write to");
}

std::vector<std::uint32_t> segment_volume::numbers() const
{
    std::vector<std::uint32_t> all(label_.segments);
    std::iota(all.begin(), all.end(), 1U);
    return all;
}

result<segment_file> segment_volume::open(std::uint32_t number) const
{
    segment_file segment;
    segment.number = number;
    segment.file = file_;
    segment.begin = block_bytes + (number - 1) * label_.segment_bytes;
    segment.bytes = label_.segment_bytes;
    return segment;
}

result<segment_file> segment_volume::create(std::uint32_t, std::uint64_t) const
{
    return make_error_code(boost::system::errc::no_space_on_device);
}

error_code segment_volume::remove(std::uint32_t) const
{
    return make_error_code(boost::system::errc::operation_not_supported);
}

std::string segment_volume::path_of(std::uint32_t number) const
{
    return fmt::format("{}, segment {}", path_.string(), number);
}

void segment_volume::fail(error_code why, const std::string& what) const
{
    fail_at(path_, why, what);
}

} // namespace terrace::segment
