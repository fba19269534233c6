#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/clock.hpp>

namespace terrace {

/// How much a record matters to whoever runs the program.
enum class log_level : std::uint8_t {
    debug,   ///< what explains the rest: for whoever looks for a fault
    info,    ///< what changed, as it should: an adapter came, a breaker closed
    warning, ///< something does not work, and the engine goes on without it
    error,   ///< something is wrong with the engine, or with a part of the program that it calls
};

/// The enumerator's name.
[[nodiscard]] TERRACE_API std::string_view to_string(log_level level) noexcept;
/// The level of a name. Throws std::invalid_argument that lists the names if there is none of this name.
[[nodiscard]] TERRACE_API log_level parse_log_level(std::string_view name);

/// One of the facts that a record's message has in words.
struct log_field {
    std::string_view name; ///< such as "adapter"; valid for as long as the process lives
    std::variant<std::uint64_t, std::string> value;
};

/// Something that happened to the engine. docs/logging.md lists all events, their levels and their fields.
struct log_record {
    log_level level = log_level::info;
    clock::time_point time;        ///< when it happened, by the engine's clock
    std::string_view component;    ///< engine, adapter, l1 or store; valid for as long as the process lives
    std::string_view event;        ///< its name, for programs: "breaker_opened"; valid as long
    std::string message;           ///< a sentence for people, on one line; whole without the fields
    std::vector<log_field> fields; ///< the facts of it, for programs
};

/// Hears what happens to an engine; config::log.
///
/// Threads   called on the engine's executor, one record at a time and in order, by a handler of its own: no lock is
///           held, nothing of the engine is under way, and it may call the engine
/// Costs     nothing where nothing happens: no call of an adapter and no request makes a record, only a change of
///           state does. What one fault could repeat without end is said at most every ten seconds, with how often it
///           happened meanwhile. While the function runs the engine does not: hand slow work to somebody else
/// Errors    what it throws is dropped, with that record, and counted in engine_status::log_errors
/// Lifetime  the engine owns it, and may call it until the last of its background work has ended, which after
///           errc::close_timed_out is later than close(): it should own what it refers to
using log_function = std::function<void(const log_record&)>;

} // namespace terrace
