#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <liburing.h>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace terrace::io {

/// Memory that an io_uring knows beforehand (IORING_REGISTER_BUFFERS2): its pages are looked up and held once, not for
/// each call. They stay in memory for as long as the ring lives.
///
///     start                                                           what is still to come
///     | piece 0 | piece 1 | ... | the last one that the kernel took   |
///
/// Threads: any; the ring outlives it.
class registered_memory {
public:
    static constexpr std::size_t max_pieces = std::size_t{1} << 14; ///< the kernel's limit
    /// The kernel takes 1 GiB in a piece. While it takes one, nothing is submitted, so less is better.
    static constexpr std::size_t piece_bytes = std::size_t{256} << 20;

    explicit registered_memory(io_uring* ring) noexcept : ring_{ring} {}
    registered_memory(const registered_memory&) = delete;
    registered_memory& operator=(const registered_memory&) = delete;

    /// Registers what is new. `memory` starts where it did the first time. Blocks for as long as it takes to find its
    /// pages. Once the kernel has refused, no more is registered.
    void grow(std::span<std::byte> memory) noexcept;

    /// The index of the piece that has all of these bytes; none: they are not registered, or lie in two.
    [[nodiscard]] std::optional<std::uint16_t> piece_of(const void* bytes, std::size_t size) const noexcept;

    /// "256 MiB registered"; "0 B of 256 MiB registered", which goes on; the same with ": Cannot allocate memory",
    /// which is where it ended; empty before grow().
    [[nodiscard]] std::string to_string() const;

private:
    [[nodiscard]] std::size_t done_bytes(std::size_t pieces) const noexcept
    {
        return pieces == 0 ? 0 : ends_[pieces - 1] - start_;
    }
    [[nodiscard]] int register_piece(std::span<std::byte> piece, unsigned index) noexcept;

    io_uring* ring_;

    std::mutex growing_; // one grow() at a time; others read what is before count_
    std::uintptr_t start_ = 0;
    std::vector<std::uintptr_t> ends_;   // of the pieces, max_pieces of them from the first grow() on
    std::atomic<std::size_t> count_ = 0; // registered
    std::atomic<std::size_t> wanted_bytes_ = 0;
    std::atomic<int> refused_ = 0; // an errno
};

} // namespace terrace::io
