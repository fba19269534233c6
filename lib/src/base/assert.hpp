#pragma once

#include <cstdio>
#include <cstdlib>

namespace terrace::detail {

[[noreturn]] inline void assertion_failed(const char* condition, const char* file, int line) noexcept
{
    std::fprintf(stderr, "terrace: broken invariant: %s (%s:%d)\n", condition, file, line);
    std::abort();
}

} // namespace terrace::detail

/// An invariant of ours, checked in release builds too. Never for what a disk, a peer or a caller can cause.
#define TERRACE_ASSERT(condition)                                                                                      \
    ((condition) ? void() : ::terrace::detail::assertion_failed(#condition, __FILE__, __LINE__))
