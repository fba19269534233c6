#include "base/huge_pages.hpp"

#include <cstdint>
#include <new>
#include <sys/mman.h>

namespace terrace {

zeroed_pages::zeroed_pages(std::size_t bytes)
{
    const bool huge = bytes >= huge_page_bytes;
    // More than is wanted, of which an aligned part is kept.
    const std::size_t spare = huge ? huge_page_bytes : 0;
    void* const mapped =
        ::mmap(nullptr, bytes + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED)
        throw std::bad_alloc{};
    data_ = mapped;
    bytes_ = bytes;
    if (!huge)
        return;
    const auto begin = reinterpret_cast<std::uintptr_t>(mapped);
    const std::uintptr_t data = (begin + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes;
    const std::size_t before = data - begin;
    data_ = reinterpret_cast<void*>(data);
    if (before != 0)
        (void)::munmap(mapped, before);
    (void)::munmap(reinterpret_cast<void*>(data + bytes), spare - before);
    (void)::madvise(data_, bytes, MADV_HUGEPAGE); // a hint
}

zeroed_pages::~zeroed_pages()
{
    if (data_ != nullptr)
        (void)::munmap(data_, bytes_);
}

} // namespace terrace
