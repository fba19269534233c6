#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include <terrace/clock.hpp>
#include <terrace/config.hpp>
#include <terrace/l2_adapter.hpp>

namespace terrace {

/// Throws std::invalid_argument, which names the option and its value.
void check(const breaker_options& options);

/// What an outcome has done to a breaker.
enum class breaker_change : std::uint8_t {
    none,
    opened,   ///< no more calls, for the first time since it worked
    reopened, ///< the probe has failed: the cool-down is longer now
    closed,   ///< the probe has succeeded
};

/// Stops the calls of an adapter that does nothing but fail, and finds out when it works again.
///
///                  so many failures in a row
///     closed -----------------------------------> open <---------+
///        ^                                          | cool-down  |
///        |                                          | over, and  | the probe fails: the cool-down doubles;
///        |                                          | a call     | or it ends without an outcome: the
///        |                                          v begins     | next call is the probe
///        +------------ the probe succeeds ------ half-open ------+
///
/// Half-open, the call that began is the probe, and no other may begin. An outcome counts only in the state that its
/// call began in: what began before a trip says nothing about the adapter after it, whichever way it ends.
///
/// Calls that have missed their timeout and go on hold memory and tasks. As many of them as make a trip keep the
/// breaker open, whatever other calls do: a probe that hangs as well would be one more, each cool-down anew. Fewer do
/// not, for a call that is lost for good must not cost the adapter.
///
/// Source: Nygard, Release It! (2007).
/// Threads: one executor; health() and trips() from any. Time comes in by argument.
class breaker {
public:
    using time_point = clock::time_point;

    /// The right to make one call. Its outcome is reported once, and later reports are ignored: a call that has been
    /// counted as timed out may still end in any way. Destroyed without a report (the call was cancelled) it counts as
    /// neither, and a probe's place is free again.
    ///
    /// Lifetime: the breaker outlives it.
    class permit {
    public:
        permit() noexcept = default; ///< to make a call that the breaker has no say in
        permit(permit&& from) noexcept { swap(from); }
        permit& operator=(permit from) noexcept
        {
            swap(from);
            return *this;
        }
        ~permit();
        void swap(permit& other) noexcept
        {
            std::swap(of_, other.of_);
            std::swap(hangs_in_, other.hangs_in_);
            std::swap(epoch_, other.epoch_);
        }

        breaker_change succeeded() noexcept;
        /// now  when it failed, from which the cool-down counts
        breaker_change failed(time_point now) noexcept;
        /// It failed, and goes on until the permit's end.
        breaker_change timed_out(time_point now) noexcept;

    private:
        friend class breaker; // the only mint
        permit(breaker& of, std::uint64_t epoch) noexcept : of_{&of}, epoch_{epoch} {}
        breaker* of_ = nullptr;       // null: reported
        breaker* hangs_in_ = nullptr; // timed out, and not ended
        std::uint64_t epoch_ = 0;
    };

    /// The options have been checked.
    explicit breaker(const breaker_options& options) : options_{options} {}
    breaker(const breaker&) = delete;
    breaker& operator=(const breaker&) = delete;

    /// Nothing if no call may be made now.
    [[nodiscard]] std::optional<permit> try_begin(time_point now) noexcept;
    /// Whether try_begin() would permit a call, without beginning one.
    [[nodiscard]] bool permits(time_point now) const noexcept;
    /// For a call that has to be made whatever the state, as what follows from one that was permitted: it counts only
    /// while it hangs.
    [[nodiscard]] permit follow_up() noexcept { return permit{*this, no_epoch}; }

    /// When an open breaker permits a call again; never, as long as so many calls hang.
    [[nodiscard]] time_point retry_at() const noexcept { return too_many_hang() ? time_point::max() : retry_at_; }
    [[nodiscard]] bool open() const noexcept { return state_ == state::open; }

    /// failed: open; degraded: half-open, or the latest call failed.
    [[nodiscard]] adapter_health health() const noexcept { return health_; }
    /// How long no call is made, since the latest trip.
    [[nodiscard]] nanoseconds cool_down() const noexcept { return cool_down_; }
    /// How often it has opened.
    [[nodiscard]] std::uint64_t trips() const noexcept { return trips_; }

private:
    enum class state : std::uint8_t { closed, open, half_open };
    static constexpr std::uint64_t no_epoch = ~std::uint64_t{0};

    breaker_change succeeded(std::uint64_t epoch) noexcept;
    breaker_change failed(std::uint64_t epoch, time_point now) noexcept;
    void abandoned(std::uint64_t epoch) noexcept;
    [[nodiscard]] bool too_many_hang() const noexcept { return hanging_ >= options_.failures; }
    void trip(time_point now) noexcept;
    void enter(state next) noexcept;

    const breaker_options options_;
    state state_ = state::closed;
    std::uint64_t epoch_ = 0;    // states entered; half-open, only the probe knows it
    std::uint32_t failures_ = 0; // closed: in a row
    std::uint32_t hanging_ = 0;
    nanoseconds cool_down_{0}; // since the latest trip
    time_point retry_at_{};    // open: no call before
    std::atomic<std::uint64_t> trips_ = 0;
    std::atomic<adapter_health> health_ = adapter_health::healthy;
};

} // namespace terrace
