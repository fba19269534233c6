#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/object_key.hpp>

namespace terrace {

class l1_cache;
struct l1_entry;

/// The right to read a batch of resident objects. While it lives, their bytes neither move nor change.
///
/// Each object is locked once for each of the lease's readers; split() hands every reader a lease of its own.
/// Destroying a lease releases it, on any thread, and frees what was temporary and has no reader left. A lease keeps
/// the memory behind it alive, even past the storage manager.
///
/// Threads: one thread at a time; different leases are independent.
class TERRACE_API read_lease {
public:
    read_lease() noexcept; ///< holds nothing
    read_lease(read_lease&& from) noexcept;
    read_lease& operator=(read_lease from) noexcept;
    ~read_lease();
    void swap(read_lease& other) noexcept;

    [[nodiscard]] std::size_t size() const noexcept { return held_.size(); } ///< objects
    [[nodiscard]] bool empty() const noexcept { return held_.empty(); }
    [[nodiscard]] std::uint32_t readers() const noexcept { return readers_; } ///< locks it holds on each object

    /// Both throw std::out_of_range unless i < size().
    [[nodiscard]] const object_key& key(std::size_t i) const;
    [[nodiscard]] std::span<const std::byte> bytes(std::size_t i) const;

    /// One lease per reader, each released on its own. This lease then holds nothing.
    [[nodiscard]] std::vector<read_lease> split();

private:
    friend class l1_cache; // the only mint
    read_lease(std::shared_ptr<l1_cache> l1, std::vector<l1_entry*> held, std::uint32_t readers) noexcept;

    std::shared_ptr<l1_cache> l1_;
    std::vector<l1_entry*> held_; // each locked readers_ times for this lease
    std::uint32_t readers_ = 0;
};

} // namespace terrace
