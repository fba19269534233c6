#include "segment_setup.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>

#include <terrace/io/disk_io.hpp>

#include "posix_calls.hpp"
#include "segment_directory.hpp"
#include "segment_volume.hpp"

namespace terrace {

namespace segment {

namespace {

constexpr std::uint64_t min_capacity_bytes = 1 << 20;

/// What the segments of a capacity leave to the snapshot and the directory.
std::uint64_t reserve_of(std::uint64_t capacity_bytes)
{
    return std::max<std::uint64_t>(capacity_bytes / 64, 32 << 10);
}

std::uint64_t limit_of(std::uint64_t capacity_bytes)
{
    return capacity_bytes - reserve_of(capacity_bytes);
}

void check_segment_bytes(std::uint64_t bytes)
{
    if (bytes < min_segment_bytes)
        throw std::invalid_argument(
            fmt::format("segment adapter: segment is {} bytes, expected at least {}", bytes, min_segment_bytes));
}

void check_of_directory(segment_options& options)
{
    if (options.capacity_bytes != 0 && options.capacity_bytes < min_capacity_bytes)
        throw std::invalid_argument(fmt::format("segment adapter: capacity is {} bytes, expected at least {}, or 0",
                                                options.capacity_bytes, min_capacity_bytes));
    if (options.segment_bytes == 0) {
        options.segment_bytes = default_segment_bytes;
        if (options.capacity_bytes != 0)
            options.segment_bytes = std::min(default_segment_bytes, limit_of(options.capacity_bytes) / 8);
    }
    options.segment_bytes = options.segment_bytes / block_bytes * block_bytes;
    check_segment_bytes(options.segment_bytes);
    if (options.capacity_bytes != 0 && limit_of(options.capacity_bytes) / options.segment_bytes < 2)
        throw std::invalid_argument(fmt::format("segment adapter: segment is {} bytes, expected at most {}: the "
                                                "capacity is to hold two and a snapshot",
                                                options.segment_bytes, limit_of(options.capacity_bytes) / 2));
}

void check_of_volume(segment_options& options)
{
    if (options.capacity_bytes != 0)
        throw std::invalid_argument(
            fmt::format("segment adapter: capacity is {} bytes, expected none: {} is as large as "
                        "it is",
                        options.capacity_bytes, options.place.string()));
    options.segment_bytes = options.segment_bytes / block_bytes * block_bytes;
    if (options.segment_bytes != 0)
        check_segment_bytes(options.segment_bytes);
}

/// What others in the process may open as well: their sockets and files are no segments.
constexpr std::uint64_t spare_files = 128;

/// A file stays open for each segment.
void allow_segments(const segment_directory& directory, const log_options& log, health_record& health)
{
    const std::uint64_t bytes = log.limit_bytes != 0 ? log.limit_bytes : directory.file_system_bytes();
    const std::uint64_t segments = std::max<std::uint64_t>(bytes / log.segment_bytes, directory.numbers().size());
    const std::uint64_t allowed = allow_files(segments + spare_files);
    if (log.limit_bytes != 0 && allowed < segments)
        health.note_problem(fmt::format("the capacity is {} segments, and this process may open {} more files "
                                        "(RLIMIT_NOFILE): larger segments, or a higher limit",
                                        segments, allowed));
}

} // namespace

segment_options checked(segment_options options)
{
    if (options.place.empty())
        throw std::invalid_argument("segment adapter: the place is empty, expected a path");
    if (options.threads < 1 || options.threads > 256)
        throw std::invalid_argument(fmt::format("segment adapter: threads is {}, expected 1 to 256", options.threads));
    (void)io::parse_io_backend(options.io);
    if (is_volume_path(options.place))
        check_of_volume(options);
    else
        check_of_directory(options);
    return options;
}

segment_log open_log(const segment_options& options, health_record& health)
{
    log_options log;
    log.clock = options.clock;
    log.threads = options.threads;
    if (!is_volume_path(options.place)) {
        log.capacity_bytes = options.capacity_bytes;
        log.segment_bytes = options.segment_bytes;
        log.limit_bytes = options.capacity_bytes == 0 ? 0 : limit_of(options.capacity_bytes);
        log.snapshot_bytes =
            reserve_of(options.capacity_bytes) - 2 * block_bytes; // the directory, and what rounding adds
        if (options.make_directory)
            make_directory(options.place);
        auto directory = std::make_unique<segment_directory>(options.place, segment_access::own);
        allow_segments(*directory, log, health);
        return {std::move(directory), log};
    }
    auto volume =
        std::make_unique<segment_volume>(options.place, segment_access::own, options.segment_bytes, options.foreign);
    log.capacity_bytes = volume->label().bytes();
    log.segment_bytes = volume->label().segment_bytes;
    log.limit_bytes = volume->label().bytes() - block_bytes;
    return {std::move(volume), log};
}

} // namespace segment

segment_options parse_segment_options(adapter_spec spec)
{
    if (spec.place().empty())
        spec.reject_place("expected a directory, or a file or block device that is there");
    segment_options options{spec.place()};
    options.capacity_bytes = spec.take_bytes("capacity").value_or(options.capacity_bytes);
    options.segment_bytes = spec.take_bytes("segment").value_or(options.segment_bytes);
    const std::string foreign = spec.take("foreign").value_or("refuse");
    if (foreign != "refuse" && foreign != "overwrite")
        throw std::invalid_argument(
            fmt::format("{}: foreign is \"{}\", expected refuse or overwrite", spec.subject(), foreign));
    options.foreign = foreign == "overwrite" ? foreign_content::overwrite : foreign_content::refuse;
    const std::string sync = spec.take("sync").value_or("none");
    if (sync != "none" && sync != "data")
        throw std::invalid_argument(fmt::format("{}: sync is \"{}\", expected none or data", spec.subject(), sync));
    options.sync = sync == "data" ? segment_sync::data : segment_sync::none;
    options.threads = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(spec.take_count("threads").value_or(options.threads), UINT32_MAX));
    options.io = spec.take("io").value_or(options.io);
    const std::string makes = spec.take("make").value_or("on");
    if (makes != "on" && makes != "off")
        throw std::invalid_argument(fmt::format("{}: make is \"{}\", expected on or off", spec.subject(), makes));
    options.make_directory = makes == "on";
    const std::string registers = spec.take("register").value_or("off");
    if (registers != "off" && registers != "on")
        throw std::invalid_argument(
            fmt::format("{}: register is \"{}\", expected off or on", spec.subject(), registers));
    options.register_memory = registers == "on";
    spec.expect_all_taken();
    (void)segment::checked(options);
    return options;
}

std::unique_ptr<l2_adapter> make_segment_adapter(adapter_spec spec)
{
    return std::make_unique<segment_adapter>(parse_segment_options(std::move(spec)));
}

} // namespace terrace
