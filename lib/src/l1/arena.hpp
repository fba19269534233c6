#pragma once

#include <cstddef>
#include <cstdint>

#include <terrace/l1_config.hpp>

namespace terrace {

/// One mapping of anonymous memory, which is L1. It starts at a huge page and is mapped once, for as long as it lives:
/// finding the memory anew costs the host up to seconds for each GiB.
class arena {
public:
    /// Throws std::system_error if the address space or, with prefault_mode::at_start, the memory cannot be had.
    explicit arena(const l1_config& cfg);
    ~arena();
    arena(const arena&) = delete;
    arena& operator=(const arena&) = delete;

    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_; }

private:
    void* mapping_ = nullptr;
    std::size_t mapped_bytes_ = 0;
    std::byte* data_ = nullptr;
    std::uint64_t size_ = 0;
};

} // namespace terrace
