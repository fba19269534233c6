#include <terrace/segment_inspection.hpp>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <optional>
#include <sys/file.h>
#include <thread>

#include "posix_calls.hpp"
#include "recovery.hpp"
#include "segment_directory.hpp"
#include "segment_index.hpp"
#include "segment_volume.hpp"

namespace terrace {

namespace {

namespace fs = std::filesystem;
using segment::damaged_place;
using segment::found_record;
using segment::indexed;
using segment::record;
using segment::recovered;
using segment::segment_access;
using segment::segment_directory;
using segment::segment_file;
using segment::segment_storage;
using segment::segment_volume;

/// What is found in one segment, by place.
using findings = std::multimap<std::uint64_t, inspected_object>;

inspected_object object_at(const record& where, const object_key& key, std::string problem)
{
    inspected_object object;
    object.key = key;
    object.payload_bytes = where.payload_bytes;
    object.fingerprint = where.fingerprint;
    object.problem = std::move(problem);
    return object;
}

/// Whether its owner has filled the segment again since it was opened here.
bool is_in_another_life(const segment_storage& storage, const segment_file& file)
{
    result<segment_file> now = storage.open(file.number);
    std::vector<damaged_place> ignored;
    if (now)
        segment::identify(*now, ignored);
    return !now || (now->life != 0 && now->life != file.life);
}

findings verify(const segment_storage& storage, const segment_file& file, std::span<const indexed> objects)
{
    findings found;
    for (const indexed& object : objects) {
        std::string problem = segment::problem_of(file, object.key, object.where);
        if (!problem.empty() && is_in_another_life(storage, file))
            break; // all of this was evicted
        found.emplace(object.where.offset, object_at(object.where, object.key, std::move(problem)));
    }
    return found;
}

std::string problem_of(const damaged_place& place, bool being_filled)
{
    if (place.offset == 0)
        return place.unreadable ? "the segment's header cannot be read: " + place.unreadable.message()
                                : "the segment's header is damaged, of another version, or not one";
    if (place.unreadable)
        return fmt::format("no record that can be read, in {} bytes: {}", place.bytes, place.unreadable.message());
    return fmt::format("no record {}, in {} bytes", being_filled ? "yet" : "where one should be", place.bytes);
}

/// What was not whole when it was read. Where the segment is being filled, that is no damage, if it could be read.
void add_damage(const recovered& contents, const segment_file& file, bool being_filled, findings& to)
{
    for (const found_record& torn : contents.torn) {
        if (torn.where.segment != file.number)
            continue;
        inspected_object object =
            object_at(torn.where, torn.key,
                      being_filled ? "its payload is not whole yet" : "its payload is not whole: a crash tore it");
        object.being_written = being_filled;
        to.emplace(torn.where.offset, std::move(object));
    }
    for (const damaged_place& place : contents.damaged) {
        if (place.segment != file.number)
            continue;
        inspected_object damaged;
        damaged.problem = problem_of(place, being_filled);
        damaged.being_written = being_filled && !place.unreadable;
        to.emplace(place.offset, std::move(damaged));
    }
}

bool has_damage(const recovered& contents, const segment_file& file)
{
    return std::ranges::any_of(contents.torn, [&](const found_record& r) { return r.where.segment == file.number; }) ||
           std::ranges::any_of(contents.damaged, [&](const damaged_place& d) { return d.segment == file.number; });
}

/// Whether it is one segment of a directory.
bool is_segment(const fs::path& path)
{
    std::error_code none;
    return fs::is_regular_file(path, none) && segment::segment_number_of(path.filename().string()).has_value();
}

/// The directory or volume that it is, or that it is a segment of.
fs::path place_of(const fs::path& path)
{
    return !segment::is_volume(path) && is_segment(path) ? fs::absolute(path).parent_path() : path;
}

std::unique_ptr<segment_storage> look_at(const fs::path& place)
{
    if (segment::is_volume(place))
        return std::make_unique<segment_volume>(place, segment_access::look);
    return std::make_unique<segment_directory>(place, segment_access::look);
}

/// Whether an adapter has the place. Nobody can tell but by locking it, for a moment.
bool is_in_use(const fs::path& place)
{
    const fs::path locked = fs::is_directory(place) ? place / "lock" : place;
    const io::unique_fd file = segment::open_at(AT_FDCWD, locked.string(), O_RDONLY | O_NONBLOCK);
    return file.is_open() && ::flock(file.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

} // namespace

bool is_segment_store(const fs::path& path)
{
    std::error_code none;
    if (fs::is_directory(path, none)) // one that is empty has a lock, and after a close() a snapshot
        return !segment_directory{path, segment_access::look}.numbers().empty() ||
               fs::is_regular_file(path / "lock", none) || fs::is_regular_file(path / "snapshot", none);
    return is_segment(path) || segment::is_volume(path);
}

void inspect_segment_store(const fs::path& path, const inspection_report& report)
{
    const fs::path place = place_of(path);
    const std::unique_ptr<segment_storage> storage = look_at(place);
    const auto only = place != path ? segment::segment_number_of(path.filename().string()) : std::nullopt;
    const bool was_in_use = is_in_use(place);
    const recovered contents = segment::read_contents(*storage, std::max(1U, std::thread::hardware_concurrency()));
    const bool in_use = was_in_use || is_in_use(place);
    segment::segment_index index;
    segment::put(contents.records, index);
    for (const segment_file& file : contents.segments) {
        if (only && file.number != *only)
            continue;
        findings found = verify(*storage, file, index.in_segment(file.number));
        if (has_damage(contents, file) && !is_in_another_life(*storage, file))
            add_damage(contents, file, in_use && file.order == contents.last_order, found);
        for (auto& [offset, object] : found) {
            object.where = fmt::format("{} at {}", storage->path_of(file.number), offset);
            report(object);
        }
    }
}

} // namespace terrace
