#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <terrace/api.hpp>

namespace terrace {

/// Where L1 lies, for who hands it to a device or to another process: with l1_sharing::memfd a server passes fd() to
/// its clients (SCM_RIGHTS) once, and then objects as offsets.
///
/// A client maps as many bytes as base() has, once; what lies beyond l1_status::grown_bytes it can touch (else SIGBUS)
/// when L1 has grown that far, as it has for every object that there is an offset of. Only with huge pages from the
/// kernel's pool it maps what fstat() says, and more when it gets an offset beyond. The file is sealed against
/// shrinking. A client that maps it writable can write to every object.
///
/// Lifetime  a value; base() and fd() are valid while the storage_manager or any lease of it lives. A client's mapping
///           is its own, and outlives both; which object an offset means, only a lease keeps.
class TERRACE_API l1_memory {
public:
    l1_memory(std::span<const std::byte> base, int fd) noexcept : base_{base}, fd_{fd} {}

    /// The addresses of the whole capacity. They never change; what has not grown yet cannot be accessed.
    [[nodiscard]] std::span<const std::byte> base() const noexcept { return base_; }

    /// -1: not shared. Byte 0 of the file is byte 0 of base(). It is L1's: duplicate it to keep it.
    [[nodiscard]] int fd() const noexcept { return fd_; }

    /// Bytes from the start of base() to an object's. Throws std::invalid_argument if they are not in L1.
    [[nodiscard]] std::uint64_t offset_of(std::span<const std::byte> object) const;

private:
    std::span<const std::byte> base_;
    int fd_;
};

} // namespace terrace
