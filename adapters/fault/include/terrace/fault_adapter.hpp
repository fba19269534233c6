#pragma once

#include <boost/system/errc.hpp>
#include <boost/system/error_code.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include <terrace/adapter_spec.hpp>
#include <terrace/api.hpp>
#include <terrace/clock.hpp>
#include <terrace/l2_adapter.hpp>

namespace terrace {

/// The calls of an adapter, as a set.
enum class fault_calls : std::uint8_t {
    none = 0,
    lookup = 1,
    load = 2,
    store = 4,
    unlock = 8,
    erase = 16,
    list = 32,
    lock_victims = 64,
    close = 128,
    all = 255,
};

[[nodiscard]] constexpr fault_calls operator|(fault_calls a, fault_calls b) noexcept
{
    return static_cast<fault_calls>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr fault_calls operator&(fault_calls a, fault_calls b) noexcept
{
    return static_cast<fault_calls>(static_cast<unsigned>(a) & static_cast<unsigned>(b));
}

/// What goes wrong. Honest ones say so; the others are lies, which only whoever knows what was stored finds out.
enum class fault_effect : std::uint8_t {
    delay, ///< waits, then goes on. Cancelled meanwhile: throws operation_aborted
    /// Throws, and the wrapped adapter hears nothing of the call.
    throw_error,
    /// Throws after the call was carried out. Lookups and lock_victims are not: they would leave locks behind.
    lose_answer,
    hang, ///< waits until it is cancelled or released
    /// Waits until it is released, cancelled or not, as what a device has begun. Then a load writes to its buffers,
    /// which are still its own, and a call that was cancelled throws operation_aborted.
    hang_deaf,
    /// Honest: clear bits, and the items do not reach the wrapped adapter. A load writes nonsense to their buffers. An
    /// unlock leaves their locks.
    fail_items,
    /// Objects vanish, unless they are locked. Lookups and loads say so; stores, and erases, which leave the object
    /// where it is, lie that they have done it. An unlock leaves the locks.
    drop_items,
    /// A lie: one byte of what is loaded or stored is another one.
    corrupt_items,
    wrong_size, ///< the answer is a bitmap with one bit too many. A lookup locks nothing then
    die,        ///< this call and all after it throw, until fault_control::revive()
};

/// To which calls, when, and what. A call may be hit by several rules: it is delayed by all of them, then hangs, then
/// throws, then its items fail.
class fault_rule {
public:
    /// Calls that the effect has nothing to do with are left alone: only load and store are corrupted, only answers
    /// with a bit for each item have items that fail.
    fault_rule(fault_calls on, fault_effect what) : calls{on}, effect{what} {}

    fault_calls calls;
    fault_effect effect;
    double probability = 1;  ///< that a call is hit; 0 to 1
    std::uint64_t every = 1; ///< of the calls, each n-th; >= 1
    nanoseconds from{0};     ///< since the rule was added
    nanoseconds until = nanoseconds::max();
    double item_probability = 1; ///< that an item of the call is hit; 0 to 1
    nanoseconds delay{0};
    boost::system::error_code error = make_error_code(boost::system::errc::io_error); ///< that is thrown
};

/// What a fault adapter has done so far.
class fault_counts {
public:
    fault_counts() = default;

    std::uint64_t calls = 0; ///< of all kinds, hit or not
    std::uint64_t delays = 0;
    std::uint64_t errors = 0; ///< thrown, by rules
    std::uint64_t lost_answers = 0;
    std::uint64_t hangs = 0;
    std::uint64_t hanging = 0; ///< now
    std::uint64_t failed_items = 0;
    std::uint64_t dropped_items = 0;
    std::uint64_t corrupted_items = 0;
    std::uint64_t wrong_sizes = 0;
    std::uint64_t deaths = 0;
    std::uint64_t refused = 0; ///< calls of a dead adapter
};

/// The switchboard of a fault adapter. Tests and operators keep it, and switch faults on and off while calls run.
///
/// Which calls are hit depends on the seed, on the rules in the order in which they were added, and on the calls in the
/// order in which they began: nothing else. Each rule has a random generator of its own, so adding or removing one does
/// not change what the others do.
///
/// Threads: any.
class TERRACE_API fault_control {
public:
    using rule_id = std::uint64_t;

    /// clock  for delays and spans of time; null: the machine's
    explicit fault_control(std::uint64_t seed = 0, std::shared_ptr<terrace::clock> clock = nullptr);
    ~fault_control();
    fault_control(const fault_control&) = delete;
    fault_control& operator=(const fault_control&) = delete;

    /// From now on, for calls that begin later. Throws std::invalid_argument that names what is out of range.
    rule_id add(const fault_rule& rule);
    /// Nothing if there is no such rule (any more).
    void remove(rule_id id);
    /// Removes all rules. What hangs goes on hanging.
    void clear();

    /// Lets go on what hangs now.
    void release();

    /// Every call that begins from now on throws this, until revive().
    void kill(boost::system::error_code error = make_error_code(boost::system::errc::no_such_device));
    void revive();
    [[nodiscard]] bool dead() const;

    [[nodiscard]] fault_counts counts() const;

    class TERRACE_LOCAL impl;
    [[nodiscard]] impl& inside() noexcept { return *impl_; } ///< for the adapter

private:
    std::unique_ptr<impl> impl_;
};

/// Wraps an adapter: without rules the result does what it does, and is a demotion_source if it is one.
///
/// Its status is the wrapped adapter's, with the calls that are in flight here; dead, it is adapter_health::failed.
/// Throws std::invalid_argument if either is null.
[[nodiscard]] TERRACE_API std::unique_ptr<l2_adapter> make_fault_adapter(std::unique_ptr<l2_adapter> wrapped,
                                                                         std::shared_ptr<fault_control> control);

/// The same as text: what is wrapped, then the faults.
///
///     fault:memory:?capacity=1GiB;store=throw@0.01;load=delay:5ms;seed=7
///
/// make_wrapped  makes the adapter of what stands between "fault:" and the first ';'
///
/// The README has the grammar. Throws std::invalid_argument that names the offending part and what was expected.
[[nodiscard]] TERRACE_API std::unique_ptr<l2_adapter>
make_fault_adapter(const adapter_spec& spec,
                   const std::function<std::unique_ptr<l2_adapter>(std::string_view)>& make_wrapped);

} // namespace terrace
