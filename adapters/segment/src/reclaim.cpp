#include "reclaim.hpp"

#include <algorithm>

namespace terrace::segment {

std::optional<reclaim_choice> choose(std::span<const indexed> objects, std::uint64_t segment_bytes, std::uint64_t room)
{
    reclaim_choice choice;
    std::vector<indexed> hot;
    for (const indexed& object : objects) {
        if (object.locked) {
            choice.kept.push_back(object);
            choice.kept_bytes += object.where.bytes();
        } else if (object.uses != 0) {
            hot.push_back(object);
        } else {
            choice.evicted.push_back(object);
        }
    }
    if (choice.kept_bytes > room)
        return std::nullopt;

    std::uint64_t hot_room = std::min(segment_bytes / 2, room - choice.kept_bytes);
    std::ranges::stable_sort(hot, std::ranges::greater{}, &indexed::uses);
    for (const indexed& object : hot) {
        const std::uint64_t bytes = object.where.bytes();
        if (bytes > hot_room) {
            choice.evicted.push_back(object);
            continue;
        }
        hot_room -= bytes;
        choice.kept.push_back(object);
        choice.kept_bytes += bytes;
    }
    return choice;
}

} // namespace terrace::segment
