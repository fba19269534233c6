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
bool map_over(std::span<std::byte> reserved, std::size_t bytes, int flags)
{
    void* found = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
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
    std::vector<pages> kinds;
    for (std::uint64_t at = 0; at < initial; at += slice_)
        kinds.push_back(map(slice_at(at)));
    if (prefault_ == prefault_mode::at_start)
        prefault({data(), initial}, prefault_threads_, cfg.progress); // all at once: the threads never wait for a slice
    for (const pages kind : kinds)
        adopt(slice_at(grown_), kind);
}

std::span<std::byte> arena::grow()
{
    TERRACE_ASSERT(!full());
    const std::span<std::byte> slice = slice_at(grown_);
    try {
        const pages kind = map(slice);
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

/// Maps a slice as configured. Where it throws, the slice may be mapped all the same: see unmap().
arena::pages arena::map(std::span<std::byte> slice) const
{
    constexpr int ordinary = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    constexpr int huge = MAP_PRIVATE | MAP_ANONYMOUS | huge_page_flags; // the kernel sets the pages aside now
    const std::span<std::byte> whole_pages{slice.data(), round_up(slice.size(), huge_page)};
    if (huge_pages_ == huge_page_mode::reserved && map_over(whole_pages, whole_pages.size(), huge)) {
        if (numa_node_)
            bind_to(whole_pages, *numa_node_);
        return pages::reserved_huge;
    }
    if (!map_over(slice, slice.size(), ordinary))
        throw std::system_error(errno, std::system_category(), fmt::format("cannot map {} bytes for L1", slice.size()));
    // Advice: a kernel that is built without them does not know it.
    ::madvise(slice.data(), slice.size(), huge_pages_ == huge_page_mode::off ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    if (numa_node_)
        bind_to(slice, *numa_node_);
    return pages::ordinary;
}

/// Gives the memory back and keeps the addresses.
void arena::unmap(std::span<std::byte> slice) const noexcept
{
    ::mmap(slice.data(), round_up(slice.size(), huge_page), PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/// Attaches a slice that is mapped, and makes it part of what is usable.
void arena::adopt(std::span<std::byte> slice, pages kind)
{
    attached_.attach(slice);
    grown_ += slice.size();
    if (kind == pages::reserved_huge)
        reserved_huge_page_bytes_ += slice.size();
}

} // namespace terrace
