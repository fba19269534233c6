#include "flow/load_calls.hpp"

#include <algorithm>

namespace terrace {

std::vector<load_call> split_into_calls(std::span<const bitmap> chosen, std::span<const layout_run> layouts,
                                        std::uint64_t window_bytes)
{
    std::vector<load_call> calls;
    for (std::size_t adapter = 0; adapter < chosen.size(); ++adapter) {
        auto run = layouts.begin();
        std::uint64_t room = 0; // in the last call
        chosen[adapter].for_each_set([&](std::size_t at) {
            while (at >= run->end) {
                ++run;
                room = 0;
            }
            const std::uint64_t bytes = run->layout.size_bytes();
            if (bytes > room) {
                calls.push_back({adapter, &run->layout, {}});
                room = std::max(window_bytes, bytes);
            }
            calls.back().positions.push_back(static_cast<std::uint32_t>(at));
            room -= bytes;
        });
    }
    return calls;
}

} // namespace terrace
