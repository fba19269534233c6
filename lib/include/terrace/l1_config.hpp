#pragma once

#include <cstdint>

namespace terrace {

/// Whether L1's pages are touched when the engine starts.
enum class prefault_mode : std::uint8_t {
    on_demand, ///< each page at its first use
    at_start,  ///< all of them in the constructor, which then takes about 50 to 350 ms for each GiB
};

/// The memory tier.
struct l1_config {
    std::uint64_t capacity_bytes = std::uint64_t{1} << 30; ///< rounded up to 4 KiB pages; >= 4096
    std::uint32_t alignment_bytes = 4096; ///< of every object, a power of two, 64 to 2 MiB; 4096 suits O_DIRECT
    prefault_mode prefault = prefault_mode::on_demand;
    bool huge_pages = true; ///< ask for transparent huge pages; the kernel may refuse
};

/// What clear() removes from L1.
enum class clear_mode : std::uint8_t {
    unlocked, ///< objects that nobody reads
    force,    ///< all objects: those being read are hidden at once and freed at their last release
};

} // namespace terrace
