#include "l1/arena.hpp"

#include "base/assert.hpp"
#include "l1/prefault.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <fmt/format.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>

namespace terrace {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t huge_page = std::uint64_t{2} << 20;
constexpr int huge_page_flags = MAP_HUGETLB | 21 << MAP_HUGE_SHIFT; // of 2 MiB, whatever size is this system's default

std::uint64_t round_up(std::uint64_t n, std::uint64_t to)
{
    return (n + to - 1) / to * to;
}

std::uint64_t initial_bytes(const l1_config& cfg, std::uint64_t size, std::uint64_t slice)
{
    return cfg.initial_bytes == 0 ? size : std::min(size, round_up(cfg.initial_bytes, slice));
}

/// Maps memory to where there is no access yet; false: errno says why not.
///
/// It is mapped elsewhere and moved. Mapped right there, a failure for want of memory may leave a hole in the reserved
/// addresses, which any other thread's mmap() could take.
bool map_over(std::span<std::byte> reserved, int flags, int file = -1, std::uint64_t offset = 0)
{
    const std::size_t bytes = reserved.size();
    void* found = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, file, static_cast<off_t>(offset));
    if (found == MAP_FAILED)
        return false;
    if (::mremap(found, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, reserved.data()) != MAP_FAILED)
        return true;
    const int error = errno;
    ::munmap(found, bytes);
    errno = error;
    return false;
}

/// Has the kernel take the pages of a mapping from one NUMA node alone. (libnuma would be one more dependency for
/// this.)
void bind_to(std::span<std::byte> memory, std::uint32_t node)
{
    constexpr std::size_t most_nodes = 1024; // the kernel's own limit
    constexpr std::size_t bits = sizeof(unsigned long) * CHAR_BIT;
    TERRACE_ASSERT(node < most_nodes);
    std::array<unsigned long, most_nodes / bits> nodes{};
    nodes[node / bits] = 1UL << node % bits;
    // The kernel reads one bit less than it is told.
    if (::syscall(SYS_mbind, memory.data(), memory.size(), MPOL_BIND, nodes.data(), most_nodes + 1, 0) != 0)
        throw std::system_error(errno, std::system_category(),
                                fmt::format("cannot bind L1 to NUMA node {}, which this machine may not have", node));
}

} // namespace

// ---- address_range ---------------------------------------------------------------------------------------------

address_range::address_range(std::uint64_t bytes)
    : reserved_bytes_{round_up(bytes, huge_page) + huge_page} // room to start at one, and to end with a whole one
{
    reserved_ = ::mmap(nullptr, reserved_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved_ == MAP_FAILED)
        throw std::system_error(errno, std::system_category(),
                                fmt::format("cannot reserve {} bytes of addresses for L1", bytes));
    const auto start = reinterpret_cast<std::uintptr_t>(reserved_);
    data_ = static_cast<std::byte*>(reserved_) + (round_up(start, huge_page) - start);
}

address_range::~address_range()
{
    ::munmap(reserved_, reserved_bytes_);
}

// ---- attachments -----------------------------------------------------------------------------------------------

attachments::~attachments()
{
    for (; !slices_.empty(); slices_.pop_back())
        hook_->detach(slices_.back());
}

void attachments::attach(std::span<std::byte> slice)
{
    if (hook_ == nullptr)
        return;
    slices_.push_back(slice); // first: what is attached must be remembered
    try {
        hook_->attach(slice);
    } catch (...) {
        slices_.pop_back();
        throw;
    }
}

// ---- arena -----------------------------------------------------------------------------------------------------

arena::arena(const l1_config& cfg)
    : size_{round_up(cfg.capacity_bytes, page)},
      slice_{round_up(std::max<std::uint64_t>(cfg.slice_bytes, 1), huge_page)},
      prefault_{cfg.prefault},
      prefault_threads_{cfg.prefault_threads},
      huge_pages_{cfg.huge_pages},
      numa_node_{cfg.numa_node},
      addresses_{size_},
      attached_{cfg.hook}
{
    const std::uint64_t initial = initial_bytes(cfg, size_, slice_);
    const std::vector<page_kind> kinds = map_start(initial, cfg.sharing);
    if (prefault_ == prefault_mode::at_start)
        prefault({data(), initial}, prefault_threads_, cfg.progress); // all at once: the threads never wait for a slice
    for (const page_kind kind : kinds)
        adopt(slice_at(grown_), kind);
}

std::span<std::byte> arena::grow()
{
    TERRACE_ASSERT(!full());
    const std::span<std::byte> slice = slice_at(grown_);
    try {
        const page_kind kind = map(slice);
        if (prefault_ == prefault_mode::at_start)
            prefault(slice, prefault_threads_, {});
        adopt(slice, kind);
    } catch (...) {
        unmap(slice);
        throw;
    }
    return slice;
}

std::span<std::byte> arena::slice_at(std::uint64_t offset) const noexcept
{
    return {data() + offset, std::min(slice_, size_ - offset)};
}

std::vector<page_kind> arena::map_start(std::uint64_t bytes, l1_sharing sharing)
{
    if (sharing == l1_sharing::private_memory)
        return map_slices(bytes);
    if (huge_pages_ == huge_page_mode::reserved) {
        try {
            file_.emplace(page_kind::reserved_huge);
            return map_slices(bytes);
        } catch (const std::system_error&) { // a file has pages of one kind: all of it, or nothing
            unmap({data(), bytes});
        }
    }
    file_.emplace(page_kind::ordinary);
    return map_slices(bytes);
}

std::vector<page_kind> arena::map_slices(std::uint64_t bytes)
{
    std::vector<page_kind> kinds;
    for (std::uint64_t at = 0; at < bytes; at += slice_)
        kinds.push_back(map(slice_at(at)));
    return kinds;
}

/// Maps a slice as configured. Where it throws, the slice may be mapped all the same: see unmap().
page_kind arena::map(std::span<std::byte> slice)
{
    const auto possible = [&](page_kind kind) { return !file_ || file_->kind() == kind; };
    if (huge_pages_ == huge_page_mode::reserved && possible(page_kind::reserved_huge) &&
        map_as(page_kind::reserved_huge, slice))
        return page_kind::reserved_huge;
    if (possible(page_kind::ordinary) && map_as(page_kind::ordinary, slice))
        return page_kind::ordinary;
    throw std::system_error(errno, std::system_category(), fmt::format("cannot map {} bytes for L1", slice.size()));
}

/// False: errno says why there are no such pages.
bool arena::map_as(page_kind kind, std::span<std::byte> slice)
{
    const bool huge = kind == page_kind::reserved_huge;
    const std::span<std::byte> memory{slice.data(), huge ? round_up(slice.size(), huge_page) : slice.size()};
    if (file_) {
        file_->extend_to(offset_of(memory) + memory.size());
        if (!map_over(memory, MAP_SHARED, file_->fd(), offset_of(memory)))
            return false;
    } else if (!map_over(memory, MAP_PRIVATE | MAP_ANONYMOUS | (huge ? huge_page_flags : MAP_NORESERVE))) {
        return false; // the pool has too few: it sets them aside for a mapping when that is made
    }
    if (!huge) // advice: a kernel that is built without transparent huge pages does not know it
        ::madvise(memory.data(), memory.size(), huge_pages_ == huge_page_mode::off ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    if (numa_node_)
        bind_to(memory, *numa_node_);
    return true;
}

/// Gives slices back, and keeps their addresses.
void arena::unmap(std::span<std::byte> slices) noexcept
{
    const std::size_t bytes = round_up(slices.size(), huge_page);
    ::mmap(slices.data(), bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (file_)
        file_->discard(offset_of(slices), bytes);
}

/// Attaches a slice that is mapped, and makes it part of what is usable.
void arena::adopt(std::span<std::byte> slice, page_kind kind)
{
    attached_.attach(slice);
    grown_ += slice.size();
    if (kind == page_kind::reserved_huge)
        reserved_huge_page_bytes_ += slice.size();
    if (full() && file_)
        file_->seal_length();
}

} // namespace terrace
