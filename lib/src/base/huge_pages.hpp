#pragma once

#include <cstddef>
#include <utility>

namespace terrace {

inline constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

/// Asks the kernel for huge pages under what is about to be used for the first time: each lookup in a large table costs
/// a walk through page tables besides its cache misses, which is shorter then. A hint: what it cannot do it leaves.
void advise_huge_pages(void* memory, std::size_t bytes) noexcept;

/// One huge page, if the kernel has one, or as many small ones.
class huge_chunk {
public:
    huge_chunk(); ///< throws std::bad_alloc
    ~huge_chunk();
    huge_chunk(huge_chunk&& from) noexcept : data_{std::exchange(from.data_, nullptr)} {}
    huge_chunk& operator=(huge_chunk from) noexcept
    {
        std::swap(data_, from.data_);
        return *this;
    }

    [[nodiscard]] void* data() const noexcept { return data_; } ///< huge_page_bytes of zeros, on a multiple of as many

private:
    void* data_;
};

} // namespace terrace
