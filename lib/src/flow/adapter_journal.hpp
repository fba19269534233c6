#pragma once

#include "base/event_log.hpp"
#include "flow/breaker.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <terrace/clock.hpp>
#include <terrace/l2_adapter.hpp>
#include <terrace/status.hpp>

namespace terrace {

/// What can be asked of an adapter.
enum class adapter_operation : std::uint8_t { lookup, load, store, unlock, erase };
inline constexpr std::size_t adapter_operations = 5;

[[nodiscard]] std::string_view to_string(adapter_operation operation) noexcept;

/// What the log hears of one adapter: what changes, not each call that fails.
///
/// Lifetime  the log outlives it
/// Threads   the engine's executor; added() any
class adapter_journal {
public:
    adapter_journal(event_log& log, adapter_id id, const l2_adapter& adapter);

    void added(const adapter_status& self) const noexcept;
    void removed() const noexcept;
    void closed() const noexcept;
    void close_failed(const std::exception_ptr& error) const noexcept;
    /// calls  that are still in flight; 0: its close() is
    void close_late(std::uint64_t calls, nanoseconds after) const noexcept;

    /// A call has failed, and its breaker has stayed as it was.
    void failed(adapter_operation what, std::string_view reason, clock::time_point now) noexcept;
    /// A call has failed, and its breaker has opened, for the first time or again.
    void tripped(adapter_operation what, const breaker& open, std::uint32_t failures, std::string_view reason,
                 clock::time_point now) noexcept;
    void probe_failed(adapter_operation what, const breaker& open, std::string_view reason) noexcept;
    void worked_again(adapter_operation what, clock::time_point now) noexcept;

    /// The adapter may have found something damaged.
    void look_for_damage(const adapter_status& self, clock::time_point now) noexcept;

    void stores_failed(std::uint64_t objects, clock::time_point now) noexcept;
    /// why  such as "its queue is full"
    void stores_dropped(std::uint64_t objects, std::string_view why, clock::time_point now) noexcept;

    /// Whether somebody listens.
    [[nodiscard]] bool wanted() const noexcept { return log_.wanted(); }

private:
    struct operation_record {
        log_limit failures;
        clock::time_point broken_since{};
    };

    /// Those that every record of an adapter has, and `more`.
    [[nodiscard]] std::vector<log_field> fields(std::vector<log_field> more = {}) const;
    [[nodiscard]] operation_record& of(adapter_operation what) { return operations_[static_cast<std::size_t>(what)]; }

    event_log& log_;
    const adapter_id id_;
    std::string name_; // the adapter's own; empty: nobody listens
    std::array<operation_record, adapter_operations> operations_;
    std::uint64_t corrupt_objects_ = 0; // that have been said
    log_limit damage_;
    log_limit failed_stores_;
    log_limit dropped_stores_;
};

} // namespace terrace
