#pragma once

#include "l1/memory_file.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <terrace/l1_config.hpp>
#include <terrace/memory_hook.hpp>

namespace terrace {

/// Address space that starts at a huge page. It is not accessible until something is mapped over it; its owner's end
/// unmaps that as well.
class address_range {
public:
    /// Throws std::system_error if it cannot be had.
    explicit address_range(std::uint64_t bytes);
    ~address_range();
    address_range(const address_range&) = delete;
    address_range& operator=(const address_range&) = delete;

    [[nodiscard]] std::byte* data() const noexcept { return data_; }

private:
    void* reserved_ = nullptr;
    std::size_t reserved_bytes_ = 0;
    std::byte* data_ = nullptr;
};

/// The slices that a hook has been told of. Their end detaches them, the last first.
class attachments {
public:
    explicit attachments(std::shared_ptr<memory_hook> hook) noexcept : hook_{std::move(hook)} {}
    ~attachments();
    attachments(const attachments&) = delete;
    attachments& operator=(const attachments&) = delete;

    /// Throws what the hook throws; the slice is not attached then.
    void attach(std::span<std::byte> slice);

private:
    std::shared_ptr<memory_hook> hook_; // null: nobody wants to know
    std::vector<std::span<std::byte>> slices_;
};

/// The memory that is L1. Addresses for all of it are taken once and never change; the memory itself comes in slices,
/// from the start of the range on, and stays: finding it anew costs the host up to seconds for each GiB.
///
///     |<------------- grown_bytes() ------------->|                                          |
///     | slice | slice | slice | slice | ... slice | no access                                |
///     |<---------------------------------- size_bytes() ------------------------------------>|
///
/// Threads: none of its own; the caller sees to it that one grows it at a time.
class arena {
public:
    /// Makes l1_config::initial_bytes usable. Throws std::system_error if the addresses, the memory or the NUMA node
    /// cannot be had, and what the hook and the progress callback throw; every slice that was attached is detached
    /// then.
    explicit arena(const l1_config& cfg);

    /// Makes the next slice usable and attaches it; must not be full(). Throws as the constructor does, and what was
    /// usable before stays as it is.
    std::span<std::byte> grow();

    [[nodiscard]] std::byte* data() const noexcept { return addresses_.data(); }
    [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_; }
    [[nodiscard]] std::uint64_t grown_bytes() const noexcept { return grown_; }
    /// Of the file that it is, byte 0 being the first; -1: it is private.
    [[nodiscard]] int fd() const noexcept { return file_ ? file_->fd() : -1; }
    [[nodiscard]] bool full() const noexcept { return grown_ == size_; }
    /// How many of the grown bytes lie in huge pages of the kernel's pool.
    [[nodiscard]] std::uint64_t reserved_huge_page_bytes() const noexcept { return reserved_huge_page_bytes_; }

private:
    [[nodiscard]] std::span<std::byte> slice_at(std::uint64_t offset) const noexcept;
    [[nodiscard]] std::uint64_t offset_of(std::span<std::byte> slice) const noexcept
    {
        return static_cast<std::uint64_t>(slice.data() - data());
    }
    [[nodiscard]] std::vector<page_kind> map_start(std::uint64_t bytes, l1_sharing sharing);
    [[nodiscard]] std::vector<page_kind> map_slices(std::uint64_t bytes);
    page_kind map(std::span<std::byte> slice);
    [[nodiscard]] bool map_as(page_kind kind, std::span<std::byte> slice);
    void unmap(std::span<std::byte> slices) noexcept;
    void adopt(std::span<std::byte> slice, page_kind kind);

    const std::uint64_t size_;
    const std::uint64_t slice_;
    const prefault_mode prefault_;
    const std::uint32_t prefault_threads_;
    const huge_page_mode huge_pages_;
    const std::optional<std::uint32_t> numa_node_;
    std::uint64_t grown_ = 0;
    std::uint64_t reserved_huge_page_bytes_ = 0;
    address_range addresses_;
    std::optional<memory_file> file_; // none: the memory is private
    attachments attached_;            // ends first: what is detached is still mapped
};

} // namespace terrace
