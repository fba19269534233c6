#pragma once

#include <cstdint>

namespace terrace::test {

inline constexpr std::uint64_t kib = 1024;
inline constexpr std::uint64_t mib = 1024 * kib;

} // namespace terrace::test
