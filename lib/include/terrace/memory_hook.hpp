#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <terrace/api.hpp>

namespace terrace {

/// Makes L1's memory known to a device, such as a GPU that copies from pinned memory or a network card: slice by slice,
/// as the memory becomes usable.
///
/// Threads   one call at a time: attach() on the thread that constructs the storage manager, later on any that reserves
///           memory, the engine's executor among them; detach() on the one that ends the last lease. No lock of L1 is
///           held, but a reservation from within, which may have to wait for this very call, is a deadlock.
/// Lifetime  L1 shares ownership of the hook until the last slice is detached
class TERRACE_API memory_hook {
public:
    virtual ~memory_hook() = default;

    /// A slice of l1_config::slice_bytes, or the rest of the capacity: mapped, starting at a multiple of 2 MiB, and
    /// touched if so configured. Nothing has been put into it yet.
    /// Errors: throw, with nothing registered. At the start the storage manager's constructor throws it, having
    /// detached what was attached; later L1 stays as large as it is, and l1_status::growth_failures counts it.
    virtual void attach(std::span<std::byte> slice) = 0;

    /// A slice that was attached is about to be unmapped, after the end of the storage manager and of its last lease;
    /// the one attached last comes first.
    virtual void detach(std::span<std::byte> slice) noexcept = 0;

    /// What is not as it should be although attach() did not throw, in words for the log, such as that memory is not
    /// pinned; empty: nothing. Asked when L1 starts and when it has grown. Threads: any.
    [[nodiscard]] virtual std::string problem() const { return {}; }
};

} // namespace terrace
