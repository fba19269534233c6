#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/memory_hook.hpp>

namespace terrace::cuda {

/// Pins host memory for a device: its pages stay where they are, and the device can reach them.
///
/// Threads: any, one call at a time; several if one locker is given to several pinned_memory.
class TERRACE_API page_locker {
public:
    virtual ~page_locker() = default;
    /// Throws std::runtime_error, with nothing pinned.
    virtual void lock(std::span<std::byte> memory) = 0;
    /// What was locked, in the same piece.
    virtual void unlock(std::span<std::byte> memory) noexcept = 0;
};

/// By cudaHostRegister(), for all devices. Without the device every lock() throws, and says why there is none.
/// device  any that this process uses anyway: it is made ready for use, which takes memory of its own
[[nodiscard]] TERRACE_API std::shared_ptr<page_locker> make_cuda_page_locker(int device = 0);

/// What happens to a slice of L1 that cannot be pinned.
enum class pin_failure : std::uint8_t {
    refuse, ///< an error: L1 does not start, or does not grow
    count,  ///< it is used without, at about half the speed; pinned_memory::status() shows it, and the log
};

/// How much of L1 is pinned now.
struct pinned_status {
    std::uint64_t pinned_slices = 0;
    std::uint64_t pinned_bytes = 0;
    std::uint64_t unpinned_slices = 0; ///< that could not be, under pin_failure::count
    std::uint64_t unpinned_bytes = 0;
    std::string last_failure; ///< why the last one could not be; empty: none ever failed
};

/// Pins L1 for devices, slice by slice as it grows, until the end of its last lease:
///
///     config.l1.hook = std::make_shared<terrace::cuda::pinned_memory>();
///
/// Threads: attach() and detach() as L1 calls them; the rest any.
class TERRACE_API pinned_memory final : public memory_hook {
public:
    explicit pinned_memory(pin_failure on_failure = pin_failure::refuse,
                           std::shared_ptr<page_locker> locker = make_cuda_page_locker());

    void attach(std::span<std::byte> slice) override;
    void detach(std::span<std::byte> slice) noexcept override;
    /// What is not pinned under pin_failure::count, and why.
    [[nodiscard]] std::string problem() const override;

    [[nodiscard]] pinned_status status() const;
    /// Whether all of these bytes are.
    [[nodiscard]] bool is_pinned(std::span<const std::byte> bytes) const;
    /// How many of these bytes, from the first on, lie in one slice; all of them if they are not in L1. One copy of the
    /// device's must not cross from one registration into the next.
    [[nodiscard]] std::size_t in_one_slice(std::span<const std::byte> bytes) const;

private:
    struct slice {
        std::uintptr_t first;
        std::uintptr_t last; // one past
        bool pinned;
    };
    [[nodiscard]] const slice* find(std::uintptr_t address) const; // under the mutex

    const pin_failure on_failure_;
    const std::shared_ptr<page_locker> locker_;
    mutable std::mutex mutex_;
    std::vector<slice> slices_; // by address: L1 grows upwards
    pinned_status status_;
};

} // namespace terrace::cuda
