#pragma once

#include <chrono>
#include <cstdint>

namespace terrace::io {

/// How many bytes may be in the kernel at a time: fixed, or found by trying.
///
/// More than the disk can work on at once only waits there, in front of what comes later; less leaves it idle. So while
/// transfers wait for room, the rate is measured in periods; now and then the limit is doubled or halved for one of
/// them, and stays so if that brought a clearly better rate, or cost nothing. The latency needs no measuring: by
/// Little's law it is the limit divided by the rate, and grows with every byte that brings none.
///
/// Source: the probing of TCP Vegas and BBR; that bytes fit more disks than a number of requests does: LMCache #5078.
///
/// Threads: none of its own; the caller serialises.
class in_flight_budget {
public:
    using time_point = std::chrono::steady_clock::time_point;

    static constexpr std::uint64_t first_bytes = std::uint64_t{64} << 20;
    static constexpr std::uint64_t min_bytes = std::uint64_t{4} << 20;
    static constexpr std::uint64_t max_bytes = std::uint64_t{1} << 30;
    static constexpr double better = 1.05;      ///< to keep more: less than that is noise
    static constexpr double as_good = 0.98;     ///< to keep less
    static constexpr unsigned hold_periods = 8; ///< between two trials

    /// fixed_bytes  0: it tunes itself
    explicit in_flight_budget(std::uint64_t fixed_bytes) noexcept
        : bytes_{fixed_bytes != 0 ? fixed_bytes : first_bytes},
          fixed_{fixed_bytes != 0}
    {
    }

    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

    /// Something ended. `limited`: there was more to begin, had there been room.
    void moved(std::uint64_t bytes, bool limited, time_point now) noexcept;

private:
    enum class trial : std::uint8_t { none, more, less };

    void end_period(double rate) noexcept;
    void try_now(trial what) noexcept;

    std::uint64_t bytes_;
    bool fixed_;
    trial trial_ = trial::none;
    trial next_trial_ = trial::more;
    bool settling_ = false;   // the first period at another limit still sees what the last one began
    unsigned held_ = 0;       // periods since the last trial
    double rate_ = 0;         // bytes per second at the limit that is kept
    std::uint64_t moved_ = 0; // in this period
    bool in_period_ = false;
    time_point began_;
};

} // namespace terrace::io
