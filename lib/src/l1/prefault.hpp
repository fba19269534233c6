#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <terrace/l1_config.hpp>

namespace terrace {

/// Makes every page of a mapping present, with several threads, a few MiB at a time.
///
/// threads   0: as many as the machine has cores, 8 at most; fewer where the memory is small or the system refuses them
/// progress  may be empty; called on the calling thread, the last time with done_bytes == total_bytes. What it throws
///           stops the work and passes through.
/// Errors    std::system_error with the first error of any thread. All threads have ended when the call does, in
///           either case; pages that are present by then stay so.
void prefault(std::span<std::byte> memory, std::uint32_t threads, const prefault_progress& progress);

/// What kernels before 5.14 need instead of advice: writes to each page. For memory that nobody has written to yet.
/// Where there is no page left the kernel ends the process, not the call.
void touch_by_hand(std::span<std::byte> memory) noexcept;

} // namespace terrace
