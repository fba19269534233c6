#include "huge_pages.hpp"

#include <cstdint>
#include <new>
#include <sys/mman.h>

namespace terrace {
namespace {

constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;
constexpr std::size_t least_bytes = 2 * huge_page_bytes;

constexpr std::size_t whole_pages(std::size_t bytes) noexcept
{
    return (bytes + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes;
}

} // namespace

void* huge_page_resource::do_allocate(std::size_t bytes, std::size_t alignment)
{
    if (bytes < least_bytes || alignment > huge_page_bytes)
        return std::pmr::new_delete_resource()->allocate(bytes, alignment);
    // One page more than is wanted, so that an aligned part of it can be kept.
    const std::size_t wanted = whole_pages(bytes);
    void* mapped = ::mmap(nullptr, wanted + huge_page_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED)
        throw std::bad_alloc{};
    auto* begin = static_cast<std::byte*>(mapped);
    const std::size_t before =
        whole_pages(reinterpret_cast<std::uintptr_t>(begin)) - reinterpret_cast<std::uintptr_t>(begin);
    if (before != 0)
        (void)::munmap(begin, before);
    if (before != huge_page_bytes)
        (void)::munmap(begin + before + wanted, huge_page_bytes - before);
    (void)::madvise(begin + before, wanted, MADV_HUGEPAGE); // a hint: without it, it is slower
    return begin + before;
}

void huge_page_resource::do_deallocate(void* memory, std::size_t bytes, std::size_t alignment)
{
    if (bytes < least_bytes || alignment > huge_page_bytes)
        std::pmr::new_delete_resource()->deallocate(memory, bytes, alignment);
    else
        (void)::munmap(memory, whole_pages(bytes));
}

} // namespace terrace
