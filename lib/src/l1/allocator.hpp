#pragma once

#include "base/slab.hpp"

#include <array>
#include <boost/intrusive/list.hpp>
#include <cstdint>

namespace terrace {

/// A range of the arena, allocated or free. Blocks tile the arena in order of address, and no two free ones touch.
struct memory_block {
    boost::intrusive::list_member_hook<> bin_hook; // membership in a bin; linked while free
    memory_block* before = nullptr;                // neighbours by address
    memory_block* after = nullptr;
    std::uint64_t offset = 0; // bytes from the arena's start
    // The size is where the next block starts less the offset: see allocator::size_bytes().
};

/// Divides a range of memory it never touches: all bookkeeping is outside. The range can grow at its end.
///
/// Two-level segregated fit: sizes fall into bins spaced like floating-point numbers, 16 to each power of two, and two
/// levels of bit masks find the first bin that surely fits. Freed blocks merge with their neighbours. Allocating and
/// freeing take constant time. Source: TLSF (Masmano et al., ECRTS 2004).
///
/// Threads: none of its own.
class allocator {
public:
    /// capacity_bytes  the range; what is past the last multiple of alignment_bytes stays unused
    /// alignment_bytes  of every block's offset and size; a power of two
    allocator(std::uint64_t capacity_bytes, std::uint32_t alignment_bytes);
    ~allocator();
    allocator(const allocator&) = delete;
    allocator& operator=(const allocator&) = delete;

    /// A block of at least `bytes`, or null if no free block is large enough. bytes >= 1.
    [[nodiscard]] memory_block* allocate(std::uint64_t bytes);
    void free(memory_block& block) noexcept;

    /// Adds to the end of the range, in multiples of the alignment; a free last block becomes larger. What is past the
    /// last multiple stays unused for good, so that only the last growth may be of another size.
    void grow(std::uint64_t bytes);

    /// What allocating `bytes` takes from the range.
    [[nodiscard]] std::uint64_t rounded(std::uint64_t bytes) const noexcept
    {
        return (bytes + alignment_ - 1) & ~(alignment_ - 1);
    }
    [[nodiscard]] std::uint64_t size_bytes(const memory_block& block) const noexcept;
    [[nodiscard]] std::uint64_t capacity_bytes() const noexcept { return capacity_; }
    [[nodiscard]] std::uint64_t used_bytes() const noexcept { return used_; }
    [[nodiscard]] std::uint64_t largest_free_bytes() const noexcept;

    /// Walks everything and proves what this page says of blocks and bins; the first fact that does not hold asserts.
    void check() const;

private:
    static constexpr std::uint32_t sub_bits = 4; // 16 bins to a power of two: at most 1/16 of a block is lost
    static constexpr std::uint32_t subs = 1U << sub_bits;
    static constexpr std::uint32_t powers = 64 - sub_bits;

    struct bin_index {
        std::uint32_t power;
        std::uint32_t sub;
    };
    using bin = boost::intrusive::list<
        memory_block,
        boost::intrusive::member_hook<memory_block, boost::intrusive::list_member_hook<>, &memory_block::bin_hook>,
        boost::intrusive::constant_time_size<false>>;

    [[nodiscard]] std::uint64_t units(const memory_block& block) const noexcept;
    [[nodiscard]] static bin_index bin_of(std::uint64_t units) noexcept;
    [[nodiscard]] memory_block* find(std::uint64_t units) noexcept;
    void put_into_bin(memory_block& block) noexcept;
    void take_from_bin(memory_block& block) noexcept;
    void absorb_next(memory_block& block) noexcept;

    std::uint64_t alignment_;
    std::uint64_t capacity_ = 0;
    std::uint64_t used_ = 0;
    std::uint32_t shift_; // log2 of the alignment
    memory_block* first_ = nullptr;
    memory_block* last_ = nullptr; // by address; null as long as the range is empty
    slab<memory_block> blocks_;
    std::uint64_t powers_in_use_ = 0;                  // bit p: a bin of power p has a block
    std::array<std::uint32_t, powers> subs_in_use_{};  // bit s: the bin (p, s) has a block
    std::array<std::array<bin, subs>, powers> bins_{}; // free blocks
};

} // namespace terrace
