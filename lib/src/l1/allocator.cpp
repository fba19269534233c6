#include "l1/allocator.hpp"

#include "base/assert.hpp"

#include <algorithm>
#include <bit>

namespace terrace {

allocator::allocator(std::uint64_t capacity_bytes, std::uint32_t alignment_bytes)
    : alignment_{alignment_bytes},
      shift_{static_cast<std::uint32_t>(std::countr_zero(alignment_bytes))}
{
    grow(capacity_bytes);
}

allocator::~allocator()
{
    TERRACE_ASSERT(used_ == 0);
    if (first_ != nullptr) {
        take_from_bin(*first_);
        blocks_.destroy(*first_);
    }
}

std::uint64_t allocator::size_bytes(const memory_block& block) const noexcept
{
    return (block.after != nullptr ? block.after->offset : capacity_) - block.offset;
}

std::uint64_t allocator::units(const memory_block& block) const noexcept
{
    return size_bytes(block) >> shift_;
}

// Power 0 holds the sizes below 16 units, one to a bin; power p >= 1 those from 2^(p+3) on, in steps of 2^(p-1).
allocator::bin_index allocator::bin_of(std::uint64_t units) noexcept
{
    if (units < subs)
        return {0, static_cast<std::uint32_t>(units)};
    const auto log = static_cast<std::uint32_t>(std::bit_width(units)) - 1;
    return {log - sub_bits + 1, static_cast<std::uint32_t>(units >> (log - sub_bits)) & (subs - 1)};
}

void allocator::put_into_bin(memory_block& block) noexcept
{
    const auto [power, sub] = bin_of(units(block));
    bins_[power][sub].push_front(block);
    subs_in_use_[power] |= 1U << sub;
    powers_in_use_ |= std::uint64_t{1} << power;
}

void allocator::take_from_bin(memory_block& block) noexcept
{
    const auto [power, sub] = bin_of(units(block));
    bin& b = bins_[power][sub];
    b.erase(b.iterator_to(block));
    if (b.empty()) {
        subs_in_use_[power] &= ~(1U << sub);
        if (subs_in_use_[power] == 0)
            powers_in_use_ &= ~(std::uint64_t{1} << power);
    }
}

memory_block* allocator::find(std::uint64_t n) noexcept
{
    // Its own bin first: there lie the blocks of just this size that were freed before, and some that are too small.
    constexpr int tries = 8;
    auto [power, sub] = bin_of(n);
    int left = tries;
    for (memory_block& block : bins_[power][sub]) {
        if (units(block) >= n)
            return &block;
        if (--left == 0)
            break;
    }
    // Then any bin above, where every block is large enough.
    std::uint32_t in_power = sub + 1 < subs ? subs_in_use_[power] & (~std::uint32_t{0} << (sub + 1)) : 0;
    if (in_power == 0) {
        const std::uint64_t above = powers_in_use_ & (~std::uint64_t{0} << power << 1);
        if (above == 0)
            return nullptr;
        power = static_cast<std::uint32_t>(std::countr_zero(above));
        in_power = subs_in_use_[power];
    }
    return &bins_[power][static_cast<std::uint32_t>(std::countr_zero(in_power))].front();
}

memory_block* allocator::allocate(std::uint64_t bytes)
{
    if (bytes > capacity_)
        return nullptr;
    const std::uint64_t wanted = rounded(bytes);
    memory_block* block = find(wanted >> shift_);
    if (block == nullptr)
        return nullptr;
    if (size_bytes(*block) > wanted) {
        memory_block& rest = blocks_.make(); // may throw: nothing has changed yet
        take_from_bin(*block);
        rest.offset = block->offset + wanted;
        rest.before = block;
        rest.after = block->after;
        if (rest.after != nullptr)
            rest.after->before = &rest;
        else
            last_ = &rest;
        block->after = &rest;
        put_into_bin(rest);
    } else {
        take_from_bin(*block);
    }
    used_ += wanted;
    return block;
}

void allocator::absorb_next(memory_block& block) noexcept
{
    memory_block& next = *block.after;
    block.after = next.after;
    if (block.after != nullptr)
        block.after->before = &block;
    else
        last_ = &block;
    blocks_.destroy(next);
}

void allocator::free(memory_block& block) noexcept
{
    TERRACE_ASSERT(!block.bin_hook.is_linked()); // freed once
    used_ -= size_bytes(block);
    memory_block* merged = &block;
    if (block.after != nullptr && block.after->bin_hook.is_linked()) {
        take_from_bin(*block.after);
        absorb_next(block);
    }
    if (block.before != nullptr && block.before->bin_hook.is_linked()) {
        merged = block.before;
        take_from_bin(*merged);
        absorb_next(*merged);
    }
    put_into_bin(*merged);
}

void allocator::grow(std::uint64_t bytes)
{
    const std::uint64_t more = bytes & ~(alignment_ - 1);
    if (more == 0)
        return;
    if (last_ != nullptr && last_->bin_hook.is_linked()) {
        take_from_bin(*last_); // under its old size
    } else {
        memory_block& added = blocks_.make(); // may throw: nothing has changed yet
        added.offset = capacity_;
        added.before = last_;
        (last_ != nullptr ? last_->after : first_) = &added;
        last_ = &added;
    }
    capacity_ += more;
    put_into_bin(*last_);
}

std::uint64_t allocator::largest_free_bytes() const noexcept
{
    if (powers_in_use_ == 0)
        return 0;
    const auto power = static_cast<std::uint32_t>(std::bit_width(powers_in_use_)) - 1;
    const auto sub = static_cast<std::uint32_t>(std::bit_width(subs_in_use_[power])) - 1;
    std::uint64_t largest = 0;
    for (const memory_block& block : bins_[power][sub])
        largest = std::max(largest, size_bytes(block));
    return largest;
}

void allocator::check() const
{
    std::uint64_t allocated = 0;
    std::uint64_t expected_offset = 0;
    std::size_t free_blocks = 0;
    const memory_block* before = nullptr;
    for (const memory_block* block = first_; block != nullptr; block = block->after) {
        TERRACE_ASSERT(block->offset == expected_offset);
        TERRACE_ASSERT(block->before == before);
        TERRACE_ASSERT(block->offset % alignment_ == 0 && size_bytes(*block) != 0);
        if (block->bin_hook.is_linked()) {
            ++free_blocks;
            TERRACE_ASSERT(before == nullptr || !before->bin_hook.is_linked()); // else they would have merged
        } else {
            allocated += size_bytes(*block);
        }
        expected_offset += size_bytes(*block);
        before = block;
    }
    TERRACE_ASSERT(before == last_);
    TERRACE_ASSERT(expected_offset == capacity_);
    TERRACE_ASSERT(allocated == used_);
    std::size_t in_bins = 0;
    for (std::uint32_t power = 0; power < powers; ++power) {
        TERRACE_ASSERT(((powers_in_use_ >> power) & 1) == (subs_in_use_[power] != 0));
        for (std::uint32_t sub = 0; sub < subs; ++sub) {
            TERRACE_ASSERT(((subs_in_use_[power] >> sub) & 1) == !bins_[power][sub].empty());
            for (const memory_block& block : bins_[power][sub]) {
                ++in_bins;
                const bin_index where = bin_of(units(block));
                TERRACE_ASSERT(where.power == power && where.sub == sub);
            }
        }
    }
    TERRACE_ASSERT(in_bins == free_blocks);
}

} // namespace terrace
