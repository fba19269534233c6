#include "l1/arena.hpp"

#include <cerrno>
#include <fmt/format.h>
#include <sys/mman.h>
#include <system_error>

namespace terrace {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t huge_page = std::uint64_t{2} << 20;

std::uint64_t round_up(std::uint64_t n, std::uint64_t to)
{
    return (n + to - 1) / to * to;
}

} // namespace

arena::arena(const l1_config& cfg) : size_{round_up(cfg.capacity_bytes, page)}
{
    mapped_bytes_ = size_ + huge_page; // room to start at a huge page
    mapping_ =
        ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping_ == MAP_FAILED)
        throw std::system_error(errno, std::system_category(), fmt::format("cannot map {} bytes for L1", size_));
    const auto start = reinterpret_cast<std::uintptr_t>(mapping_);
    data_ = static_cast<std::byte*>(mapping_) + (round_up(start, huge_page) - start);
    if (cfg.huge_pages)
        ::madvise(data_, size_, MADV_HUGEPAGE); // advice: the kernel may be built without them
    if (cfg.prefault == prefault_mode::at_start && ::madvise(data_, size_, MADV_POPULATE_WRITE) != 0) {
        const int error = errno;
        ::munmap(mapping_, mapped_bytes_);
        throw std::system_error(error, std::system_category(), fmt::format("cannot pre-fault {} bytes of L1", size_));
    }
}

arena::~arena()
{
    ::munmap(mapping_, mapped_bytes_);
}

} // namespace terrace
