#pragma once

namespace terrace {

/// Fetches a cache line that will be looked at soon. Any address will do.
///
/// gcc takes a function that does no more for one without effect, and leaves out its calls: the empty statement has
/// one.
[[gnu::always_inline]] inline void prefetch_line(const void* at) noexcept
{
    __builtin_prefetch(at);
    asm volatile("");
}

} // namespace terrace
