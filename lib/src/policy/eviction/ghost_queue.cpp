#include "policy/eviction/ghost_queue.hpp"

#include <algorithm>
#include <bit>
#include <new>

namespace terrace {
namespace {

constexpr std::size_t least_places = 64;
constexpr std::size_t most_places = std::size_t{1} << 31; // the index has 32 bits

} // namespace

void ghost_queue::remember(std::uint64_t hash, std::size_t limit) noexcept
{
    if (limit > ring_.size())
        grow(limit);
    limit = std::min(limit, ring_.size());
    if (limit == 0)
        return;
    take(hash);
    while (length_ >= limit)
        forget_first();
    const std::size_t last = position(first_ + length_++);
    ring_[last] = hash;
    index_[find(hash)] = static_cast<std::uint32_t>(last + 1);
}

bool ghost_queue::take(std::uint64_t hash) noexcept
{
    if (length_ == 0)
        return false;
    const std::size_t at = find(hash);
    if (index_[at] == 0)
        return false;
    clear(at);
    return true;
}

std::size_t ghost_queue::find(std::uint64_t hash) const noexcept
{
    std::size_t at = slot(hash);
    while (index_[at] != 0 && ring_[index_[at] - 1] != hash)
        at = slot(at + 1);
    return at;
}

/// Moves up those behind that would not be found past the gap.
void ghost_queue::clear(std::size_t at) noexcept
{
    for (std::size_t next = slot(at + 1); index_[next] != 0; next = slot(next + 1)) {
        const std::size_t home = slot(ring_[index_[next] - 1]);
        if (slot(next - home) < slot(next - at))
            continue; // its home lies behind the gap
        index_[at] = index_[next];
        at = next;
    }
    index_[at] = 0;
}

void ghost_queue::forget_first() noexcept
{
    const std::size_t at = find(ring_[first_]);
    if (index_[at] == first_ + 1) // else it is a hole, or the hash has come again since
        clear(at);
    first_ = position(first_ + 1);
    --length_;
}

void ghost_queue::grow(std::size_t places) noexcept
{
    ghost_queue larger;
    try {
        const std::size_t size = std::bit_ceil(std::clamp(places, least_places, most_places));
        if (size <= ring_.size())
            return;
        larger.ring_.resize(size);
        larger.index_.resize(2 * size);
    } catch (const std::bad_alloc&) {
        return; // fewer are remembered, which costs hits and nothing else
    }
    for (std::size_t i = 0; i < length_; ++i) {
        const std::size_t from = position(first_ + i);
        larger.ring_[i] = ring_[from];
        if (index_[find(ring_[from])] == from + 1)
            larger.index_[larger.find(ring_[from])] = static_cast<std::uint32_t>(i + 1);
    }
    larger.length_ = length_;
    *this = std::move(larger);
}

} // namespace terrace
