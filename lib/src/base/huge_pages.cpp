#include "base/huge_pages.hpp"

#include <cstdint>
#include <new>
#include <sys/mman.h>

namespace terrace {

namespace {

std::uintptr_t round_up(const void* address, std::size_t to) noexcept
{
    return (reinterpret_cast<std::uintptr_t>(address) + to - 1) / to * to;
}

} // namespace

void advise_huge_pages(void* memory, std::size_t bytes) noexcept
{
    constexpr std::size_t page_bytes = 4096;
    const std::uintptr_t begin = round_up(memory, page_bytes);
    const std::uintptr_t end = (reinterpret_cast<std::uintptr_t>(memory) + bytes) / page_bytes * page_bytes;
    if (end > begin)
        (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

huge_chunk::huge_chunk()
{
    // Twice as much as is wanted, of which an aligned part is kept.
    void* const mapped = ::mmap(nullptr, 2 * huge_page_bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED)
        throw std::bad_alloc{};
    const std::uintptr_t data = round_up(mapped, huge_page_bytes);
    const std::size_t before = data - reinterpret_cast<std::uintptr_t>(mapped);
    data_ = reinterpret_cast<void*>(data);
    if (before != 0)
        (void)::munmap(mapped, before);
    (void)::munmap(reinterpret_cast<void*>(data + huge_page_bytes), huge_page_bytes - before);
    advise_huge_pages(data_, huge_page_bytes);
}

huge_chunk::~huge_chunk()
{
    if (data_ != nullptr)
        (void)::munmap(data_, huge_page_bytes);
}

} // namespace terrace
