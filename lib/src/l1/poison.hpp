#pragma once

#include <cstddef>
#include <span>

#if defined(__SANITIZE_ADDRESS__)
#define TERRACE_POISONS_FREED_MEMORY
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TERRACE_POISONS_FREED_MEMORY
#endif
#endif
#ifdef TERRACE_POISONS_FREED_MEMORY
#include <sanitizer/asan_interface.h>
#endif

namespace terrace {

/// Has the address sanitizer report whoever touches this memory.
inline void poison([[maybe_unused]] std::span<const std::byte> memory) noexcept
{
#ifdef TERRACE_POISONS_FREED_MEMORY
    ASAN_POISON_MEMORY_REGION(memory.data(), memory.size());
#endif
}

inline void unpoison([[maybe_unused]] std::span<const std::byte> memory) noexcept
{
#ifdef TERRACE_POISONS_FREED_MEMORY
    ASAN_UNPOISON_MEMORY_REGION(memory.data(), memory.size());
#endif
}

} // namespace terrace
