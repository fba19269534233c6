#pragma once

#include <array>
#include <string_view>

#include <terrace/log.hpp>

namespace terrace {

/// What the log can say. docs/logging.md is this as a table.
struct log_event {
    std::string_view name;
    log_level level;
    std::string_view component;
    std::string_view meaning;
};

namespace log_events {

// ---- the engine ----
inline constexpr log_event started{"started", log_level::info, "engine", "The engine is ready."};
inline constexpr log_event closed{"closed", log_level::info, "engine", "close() has ended, and nothing is left."};
inline constexpr log_event close_failed{
    "close_failed", log_level::warning, "engine",
    "close() has ended with an error: an adapter's close() threw, or something still runs, and goes on."};
inline constexpr log_event internal_error{
    "internal_error", log_level::error, "engine",
    "An exception escaped one of the engine's own tasks: please report it as a bug."};

// ---- adapters ----
inline constexpr log_event adapter_added{"adapter_added", log_level::info, "adapter", "An adapter is in use."};
inline constexpr log_event adapter_removed{"adapter_removed", log_level::info, "adapter",
                                           "remove_adapter(): the adapter is not used any more."};
inline constexpr log_event adapter_closed{"adapter_closed", log_level::info, "adapter",
                                          "The adapter's close() has ended."};
inline constexpr log_event adapter_close_failed{"adapter_close_failed", log_level::warning, "adapter",
                                                "The adapter's close() threw."};
inline constexpr log_event adapter_close_late{
    "adapter_close_late", log_level::warning, "adapter",
    "The adapter is not closed after config::close_timeout: a call or its close() still runs, and goes on."};
inline constexpr log_event call_failed{
    "call_failed", log_level::warning, "adapter",
    "A call of the adapter threw, answered another question, or missed its timeout."};
inline constexpr log_event breaker_opened{
    "breaker_opened", log_level::warning, "adapter",
    "So many calls failed one after the other that no more are made: one tries the adapter after each cool-down."};
inline constexpr log_event probe_failed{"probe_failed", log_level::debug, "adapter",
                                        "The call that tried the adapter after a cool-down failed, too."};
inline constexpr log_event breaker_closed{"breaker_closed", log_level::info, "adapter",
                                          "The call that tried the adapter succeeded: it is in use again."};
inline constexpr log_event objects_damaged{
    "objects_damaged", log_level::warning, "adapter",
    "The adapter has found objects damaged or foreign: they are misses, and removed."};

// ---- L1 ----
inline constexpr log_event growth_failed{"growth_failed", log_level::warning, "l1",
                                         "L1 could not grow, and evicts instead. Said once until it has grown again."};
inline constexpr log_event huge_pages_short{
    "huge_pages_short", log_level::warning, "l1",
    "The kernel's pool of huge pages is too small for huge_page_mode::reserved: the rest of L1 lies in other pages."};
inline constexpr log_event memory_hook_problem{
    "memory_hook_problem", log_level::warning, "l1",
    "What l1_config::hook says of itself, as that some of L1 could not be pinned. Said when it changes."};

// ---- stores ----
inline constexpr log_event stores_failed{
    "stores_failed", log_level::warning, "store",
    "The adapter could not store objects, however often it was tried: they are in L1 alone, until they are evicted."};
inline constexpr log_event stores_dropped{
    "stores_dropped", log_level::warning, "store",
    "Objects were not stored: the adapter's queue was full, the adapter left, or the engine closed."};
inline constexpr log_event store_policy_failed{"store_policy_failed", log_level::error, "store",
                                               "The store policy threw, or answered another question, and is passed "
                                               "over."};

inline constexpr std::array all{
    started,
    closed,
    close_failed,
    internal_error,
    adapter_added,
    adapter_removed,
    adapter_closed,
    adapter_close_failed,
    adapter_close_late,
    call_failed,
    breaker_opened,
    probe_failed,
    breaker_closed,
    objects_damaged,
    growth_failed,
    huge_pages_short,
    memory_hook_problem,
    stores_failed,
    stores_dropped,
    store_policy_failed,
};

} // namespace log_events
} // namespace terrace
