#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <terrace/l2_adapter.hpp>

#include "bench/measure.hpp"

namespace terrace::bench {

/// When the objects that are being stored became visible.
class store_watch {
public:
    /// From now on; a stopwatch that was started just then.
    void expect(std::size_t objects);
    /// Seconds from expect() until all of them were visible, on the wall and on the processors. Nothing: they are not
    /// yet.
    [[nodiscard]] bool all_visible() const noexcept { return there_.load(std::memory_order_acquire); }
    [[nodiscard]] double seconds() const noexcept { return seconds_; }
    [[nodiscard]] double cpu() const noexcept { return cpu_; }

    void stored(std::size_t objects);

private:
    stopwatch watch_;
    std::size_t missing_ = 0;
    double seconds_ = 0;
    double cpu_ = 0;
    std::atomic<bool> there_{false};
};

/// Passes everything on, and tells the watch what was stored as soon as it is.
[[nodiscard]] std::unique_ptr<l2_adapter> make_watched_adapter(std::unique_ptr<l2_adapter> watched,
                                                               std::shared_ptr<store_watch> watch);

} // namespace terrace::bench
