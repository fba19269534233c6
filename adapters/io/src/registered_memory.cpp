#include "registered_memory.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <new>
#include <system_error>

#include <terrace/text_options.hpp>

namespace terrace::io {

void registered_memory::grow(std::span<std::byte> memory) noexcept
{
    const std::lock_guard lock{growing_};
    if (memory.size() <= wanted_bytes_)
        return;
    wanted_bytes_ = memory.size();
    if (ends_.empty()) {
        start_ = reinterpret_cast<std::uintptr_t>(memory.data());
        try {
            ends_.resize(max_pieces);
        } catch (const std::bad_alloc&) {
            refused_ = ENOMEM;
            return;
        }
        refused_ = -::io_uring_register_buffers_sparse(ring_, max_pieces);
    }
    while (refused_ == 0) {
        const std::size_t n = count_;
        const std::size_t done = done_bytes(n);
        if (done == memory.size())
            return;
        const std::span<std::byte> piece = memory.subspan(done, std::min(piece_bytes, memory.size() - done));
        refused_ = n == max_pieces ? ENOSPC : register_piece(piece, static_cast<unsigned>(n));
        if (refused_ != 0)
            return;
        ends_[n] = reinterpret_cast<std::uintptr_t>(piece.data() + piece.size());
        count_.store(n + 1, std::memory_order_release);
    }
}

/// 0, or an errno.
int registered_memory::register_piece(std::span<std::byte> piece, unsigned index) noexcept
{
    const iovec where{piece.data(), piece.size()};
    const __u64 no_tag = 0;
    const int n = ::io_uring_register_buffers_update_tag(ring_, index, &where, &no_tag, 1);
    return n < 0 ? -n : 0;
}

std::optional<std::uint16_t> registered_memory::piece_of(const void* bytes, std::size_t size) const noexcept
{
    const std::size_t n = count_.load(std::memory_order_acquire);
    const auto address = reinterpret_cast<std::uintptr_t>(bytes);
    if (n == 0 || address < start_)
        return std::nullopt;
    const auto pieces = std::span{ends_}.first(n);
    const auto piece = std::ranges::upper_bound(pieces, address);
    if (piece == pieces.end() || size > *piece - address)
        return std::nullopt;
    return static_cast<std::uint16_t>(piece - pieces.begin());
}

std::string registered_memory::to_string() const
{
    const std::size_t wanted = wanted_bytes_;
    if (wanted == 0)
        return {};
    const int refused = refused_;
    const std::size_t done = done_bytes(count_.load(std::memory_order_acquire));
    if (done == wanted)
        return format_bytes(done) + " registered";
    const std::string part = fmt::format("{} of {} registered", format_bytes(done), format_bytes(wanted));
    return refused == 0 ? part : part + ": " + std::system_category().message(refused);
}

} // namespace terrace::io
