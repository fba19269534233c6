#pragma once

#include <cstdint>

namespace terrace {

/// What memory is made of.
enum class page_kind : std::uint8_t {
    ordinary,
    reserved_huge, ///< of 2 MiB, from the kernel's pool
};

/// A file in memory, without a name in any directory: what makes L1 something that other processes can map. It never
/// becomes shorter, and closes its descriptor at its end.
class memory_file {
public:
    /// Throws std::system_error.
    explicit memory_file(page_kind kind);
    ~memory_file();
    memory_file(const memory_file&) = delete;
    memory_file& operator=(const memory_file&) = delete;

    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] page_kind kind() const noexcept { return kind_; }

    /// Makes it that long (with huge pages, a multiple of their size), with zeros that take no memory yet. Throws
    /// std::system_error.
    void extend_to(std::uint64_t bytes);
    /// Gives memory back to the system, and leaves zeros.
    void discard(std::uint64_t offset, std::uint64_t bytes) noexcept;
    /// It will not be extended any more, by nobody.
    void seal_length() noexcept;

private:
    int fd_;
    page_kind kind_;
};

} // namespace terrace
