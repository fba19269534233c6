#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include <terrace/memory_hook.hpp>

namespace terrace {

/// Whether L1's pages are touched when they become usable.
enum class prefault_mode : std::uint8_t {
    on_demand, ///< each page at its first use
    /// All of them, in the constructor and whenever L1 grows. For each GiB and thread that is about 100 ms with huge
    /// pages and 500 ms without, and seconds where a virtual machine's host has to find them first.
    at_start,
};

/// Hears how far the constructor has got with pre-faulting, on the constructing thread, every few MiB at most. The
/// last call has done_bytes == total_bytes. What it throws ends the construction.
using prefault_progress = std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)>;

/// Which pages L1 asks the kernel for.
enum class huge_page_mode : std::uint8_t {
    off,         ///< those of 4 KiB
    transparent, ///< advice: the kernel uses huge pages where it has them at hand, or is built without
    /// Of 2 MiB, from the pool that the administrator has set aside (vm.nr_hugepages). What the pool cannot give is
    /// transparent; l1_status::reserved_huge_page_bytes says what it gave.
    reserved,
};

/// Whether other processes can map L1.
enum class l1_sharing : std::uint8_t {
    private_memory,
    memfd, ///< a file in memory, whose descriptor storage_manager::l1_memory() has
};

/// The memory tier.
struct l1_config {
    std::uint64_t capacity_bytes = std::uint64_t{1} << 30; ///< rounded up to 4 KiB pages; >= 4096
    std::uint32_t alignment_bytes = 4096; ///< of every object, a power of two, 64 to 2 MiB; 4096 suits O_DIRECT

    /// What is usable from the start, rounded up to whole slices; 0: all of the capacity. The rest becomes usable slice
    /// by slice when a reservation finds no room, before anything is evicted for it.
    std::uint64_t initial_bytes = 0;
    std::uint64_t slice_bytes = std::uint64_t{64} << 20; ///< what L1 grows and is registered by; rounded up to 2 MiB

    prefault_mode prefault = prefault_mode::on_demand;
    std::uint32_t prefault_threads = 0; ///< 0: as many as the machine has cores, 8 at most; <= 256
    prefault_progress progress = {};

    huge_page_mode huge_pages = huge_page_mode::transparent;
    std::optional<std::uint32_t> numa_node = {}; ///< where all of its pages are to lie; none: wherever the kernel likes
    l1_sharing sharing = l1_sharing::private_memory;
    std::shared_ptr<memory_hook> hook = {}; ///< is told of each slice; null: nobody is
};

/// What clear() removes from L1.
enum class clear_mode : std::uint8_t {
    unlocked, ///< objects that nobody reads
    force,    ///< all objects: those being read are hidden at once and freed at their last release
};

} // namespace terrace
