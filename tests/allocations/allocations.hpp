#pragma once

#include <cstddef>
#include <cstdint>

// What operator new counts, and when it fails, in a program that has replaced it.

namespace terrace::test {

inline constexpr std::size_t unlimited = SIZE_MAX;

inline thread_local std::size_t allocations = 0;                 ///< of this thread, so far
inline thread_local std::size_t allowed_allocations = unlimited; ///< of this thread, until one fails; then all go on

} // namespace terrace::test
