#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace terrace {

/// What has gone lately, by hash, first in first out. 16 to 32 bytes for each place.
///
/// A ring of hashes, and an open-addressed index of the ring: one that is taken leaves a hole in the ring, which goes
/// in its turn. Equal hashes are taken for one object: of 10^6 places, one lookup in 10^13 is answered wrongly, and
/// costs a place in the main queue.
///
/// Threads: none of its own.
class ghost_queue {
public:
    /// Remembers this one, and of those before it the latest `limit - 1`. Without memory for that many, as many as
    /// there are places.
    void remember(std::uint64_t hash, std::size_t limit) noexcept;

    /// Whether the hash is remembered, which it is no more.
    bool take(std::uint64_t hash) noexcept;

private:
    [[nodiscard]] std::size_t position(std::size_t place) const noexcept { return place & (ring_.size() - 1); }
    [[nodiscard]] std::size_t slot(std::size_t at) const noexcept { return at & (index_.size() - 1); }
    /// The slot with the hash, or the free one where it would be.
    [[nodiscard]] std::size_t find(std::uint64_t hash) const noexcept;
    void clear(std::size_t at) noexcept;
    void forget_first() noexcept;
    void grow(std::size_t places) noexcept;

    std::vector<std::uint64_t> ring_;  // hashes, holes included; a power of two of places
    std::vector<std::uint32_t> index_; // position in the ring + 1, or 0; linear probing, at most half full
    std::size_t first_ = 0;            // position of the earliest
    std::size_t length_ = 0;           // from there on
};

} // namespace terrace
