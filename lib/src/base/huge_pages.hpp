#pragma once

#include <cstddef>
#include <utility>

namespace terrace {

inline constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

/// Zeros from the kernel: they cost nothing before they are used, and go back to it at the end. From one huge page on
/// they are in huge pages, where the kernel has any: each access to a large table costs a walk through page tables
/// besides its cache miss, which is shorter then.
class zeroed_pages {
public:
    zeroed_pages() noexcept = default;        ///< none
    explicit zeroed_pages(std::size_t bytes); ///< throws std::bad_alloc
    ~zeroed_pages();
    zeroed_pages(zeroed_pages&& from) noexcept { swap(from); }
    zeroed_pages& operator=(zeroed_pages from) noexcept
    {
        swap(from);
        return *this;
    }
    void swap(zeroed_pages& other) noexcept
    {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
    }

    /// On a multiple of a page's size, or from one huge page on of that one's; null: none.
    [[nodiscard]] void* data() const noexcept { return data_; }

private:
    void* data_ = nullptr;
    std::size_t bytes_ = 0;
};

} // namespace terrace
