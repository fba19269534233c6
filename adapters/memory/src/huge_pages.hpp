#pragma once

#include <cstddef>
#include <memory_resource>

namespace terrace {

/// Memory from the kernel, in huge pages where it has them: first touched, a GiB costs a seventh of what small ones do.
/// For a pool that takes large pieces; what is smaller than some huge pages comes from the heap.
///
/// Threads: any.
class huge_page_resource final : public std::pmr::memory_resource {
    void* do_allocate(std::size_t bytes, std::size_t alignment) override;
    void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override;
    [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

} // namespace terrace
