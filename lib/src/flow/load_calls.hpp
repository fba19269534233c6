#pragma once

#include "l1/l1_cache.hpp"

#include <cstdint>
#include <span>
#include <vector>

#include <terrace/bitmap.hpp>
#include <terrace/memory_layout.hpp>

namespace terrace {

/// What one adapter loads in one call: some keys of a request, all of one layout.
struct load_call {
    std::size_t adapter = 0;               // its index
    const memory_layout* layout = nullptr; // in one of the request's runs
    std::vector<std::uint32_t> positions;  // in the request
};

/// The calls that bring what was chosen: one for each adapter, layout and window, in this order.
///
/// chosen        what each adapter loads
/// layouts       of the request's keys
/// window_bytes  what a call takes at most; of an object larger than that it takes one
[[nodiscard]] std::vector<load_call> split_into_calls(std::span<const bitmap> chosen,
                                                      std::span<const layout_run> layouts, std::uint64_t window_bytes);

} // namespace terrace
