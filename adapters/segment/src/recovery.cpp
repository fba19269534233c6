#include "recovery.hpp"

#include <algorithm>
#include <atomic>
#include <fmt/format.h>
#include <future>
#include <map>
#include <system_error>

#include "snapshot.hpp"

namespace terrace::segment {

namespace {

/// More than are given while a segment is filled, by far, and few enough for as many starts.
constexpr std::uint64_t unseen_numbers = std::uint64_t{1} << 32;

bool is_unreadable(const damaged_place& place)
{
    return place.unreadable.failed();
}

recovered open_all(const segment_storage& storage)
{
    recovered found;
    for (const std::uint32_t number : storage.numbers()) {
        result<segment_file> segment = storage.open(number);
        if (!segment)
            throw std::system_error(segment.error(),
                                    fmt::format("segment adapter: cannot open {}", storage.path_of(number)));
        identify(*segment, found.damaged);
        found.last_order = std::max(found.last_order, segment->order);
        found.segments.push_back(std::move(*segment));
    }
    return found;
}

std::vector<segment_contents> scan_all(const std::vector<segment_file>& segments, std::uint32_t threads)
{
    std::vector<segment_contents> contents(segments.size());
    std::atomic<std::size_t> next = 0;
    const auto scan_some = [&] {
        for (std::size_t i = next++; i < contents.size(); i = next++)
            if (segments[i].state == segment_state::sealed)
                contents[i] = scan(segments[i]);
    };
    std::vector<std::future<void>> scans;
    for (std::size_t i = 0; i < std::min<std::size_t>(threads, contents.size()); ++i)
        scans.push_back(std::async(std::launch::async, scan_some));
    for (std::future<void>& scanned : scans)
        scanned.get();
    return contents;
}

/// By sequence; of an object and its copies, the one first that will be filled again last.
void sort(recovered& found)
{
    std::map<std::uint32_t, std::uint64_t> orders;
    for (const segment_file& segment : found.segments)
        orders.emplace(segment.number, segment.order);
    std::ranges::stable_sort(found.records, {}, [&](const found_record& r) {
        return std::pair{r.where.sequence, UINT64_MAX - orders.at(r.where.segment)};
    });
}

void read_records(const segment_storage& storage, std::uint32_t threads, recovered& found)
{
    const auto snapshot = storage.read_snapshot();
    found.from_snapshot = snapshot && apply_snapshot(*snapshot, found);
    if (found.from_snapshot)
        return;

    for (segment_contents& c : scan_all(found.segments, threads)) {
        std::ranges::move(c.records, std::back_inserter(found.records));
        std::ranges::move(c.torn, std::back_inserter(found.torn));
        std::ranges::move(c.damaged, std::back_inserter(found.damaged));
        found.last_sequence = std::max(found.last_sequence, c.last_sequence);
    }
    if (std::ranges::any_of(found.damaged, is_unreadable))
        found.last_sequence += unseen_numbers;
    sort(found);
}

} // namespace

recovered read_contents(const segment_storage& storage, std::uint32_t threads)
{
    recovered found = open_all(storage);
    read_records(storage, threads, found);
    return found;
}

recovered recover(const segment_storage& storage, std::uint32_t threads)
{
    recovered found = open_all(storage);
    const auto unreadable = std::ranges::find_if(found.damaged, is_unreadable);
    if (unreadable != found.damaged.end())
        throw std::system_error(unreadable->unreadable,
                                fmt::format("segment adapter: cannot read the header of {}, which may hold objects",
                                            storage.path_of(unreadable->segment)));
    read_records(storage, threads, found);
    if (const auto failed = storage.remove_snapshot())
        throw std::system_error(failed, "segment adapter: cannot remove the snapshot");
    return found;
}

void put(const std::vector<found_record>& records, segment_index& into)
{
    for (const found_record& r : records) {
        if (r.kind == record_kind::object)
            into.put(r.key, r.where);
        else
            into.erase_older(r.key, r.where.sequence);
    }
}

} // namespace terrace::segment
