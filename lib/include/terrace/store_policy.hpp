#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/bitmap.hpp>
#include <terrace/clock.hpp>
#include <terrace/object_key.hpp>

namespace terrace {

/// Why objects are before the store policy.
enum class store_reason : std::uint8_t {
    committed, ///< a caller has just written them
    wanted,    ///< in L1 alone, as they were declined or could not be stored, and now read or prefetched
};

/// Objects in L1 that a store_policy decides about, in the order of their batch.
class store_candidates {
public:
    std::span<const object_key> keys;
    std::span<const std::uint64_t> bytes; ///< of each
    std::size_t adapters = 0;
    store_reason reason = store_reason::committed;
    clock::time_point now; ///< by the engine's clock
};

/// Decides which objects go to which adapters, which of them leave L1 once they are there, and where what an adapter
/// evicts moves. No I/O, no clock of its own.
///
/// Threads: called on the engine's executor; a policy with a memory of its own serves one storage manager.
/// Errors: a policy that throws is counted, and passed over: the batch is not stored, or nothing is deleted or moved.
class TERRACE_API store_policy {
public:
    virtual ~store_policy() = default;

    [[nodiscard]] virtual std::string_view name() const noexcept = 0;

    /// One bitmap of keys.size() for each of the adapters, in order of index: which keys it shall store. A key that no
    /// adapter shall store is declined: it stays in L1 alone, and comes back for store_reason::wanted if reconsiders().
    [[nodiscard]] virtual std::vector<bitmap> select_targets(const store_candidates& candidates) = 0;

    /// Whether what it declines shall come before it again.
    [[nodiscard]] virtual bool reconsiders() const noexcept { return false; }

    /// Which keys leave L1, now that every adapter that was to store them has. `stored` is set where at least one was
    /// asked and all that were asked succeeded. Default: none.
    [[nodiscard]] virtual bitmap select_l1_deletions(std::span<const object_key> keys, const bitmap& stored) const;

    /// The index of the adapter that what leaves adapter `from` for want of room moves to; nothing: it is let go.
    /// Default: nothing.
    [[nodiscard]] virtual std::optional<std::size_t> select_demotion(std::size_t from, std::size_t adapters) const;

    /// A policy by its name, with options where it has some. Throws std::invalid_argument that lists the names, or the
    /// options.
    ///
    ///     default                             every key to every adapter; all stay in L1
    ///     skip_l1                             every key to every adapter; what is stored leaves L1
    ///     second_touch?history=262144         to every adapter, once a key is wanted a second time
    ///     write_budget?rate=100MiB&burst=1GiB to every adapter, as far as so many bytes a second go
    ///     tiered                              to the first adapter; what that evicts moves to the second, and so on
    [[nodiscard]] static std::shared_ptr<store_policy> make(std::string_view text);
};

/// How store_policy::make("second_touch") remembers. A key is wanted when it is written, and when it is read from L1:
/// most of what is written once is never asked for again.
class second_touch_options {
public:
    second_touch_options() = default;
    std::uint64_t history_keys = std::uint64_t{1} << 18; ///< declined keys remembered, about 50 bytes each; >= 1
};
/// Throws std::invalid_argument for what is out of range; so does make_write_budget().
[[nodiscard]] TERRACE_API std::shared_ptr<store_policy> make_second_touch(second_touch_options options = {});

/// What store_policy::make("write_budget") spends: a token bucket, of which each byte that an adapter shall store takes
/// one. A batch is stored from its head for as far as the budget goes; what it does not cover is considered again when
/// it is wanted.
class write_budget_options {
public:
    write_budget_options() = default;
    std::uint64_t bytes_per_second = std::uint64_t{100} << 20; ///< 8.2 TiB a day; >= 1
    std::uint64_t burst_bytes = 0;                             ///< that may be saved up; 0: what ten seconds bring
};
[[nodiscard]] TERRACE_API std::shared_ptr<store_policy> make_write_budget(write_budget_options options = {});

} // namespace terrace
