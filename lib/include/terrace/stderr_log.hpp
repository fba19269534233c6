#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include <terrace/api.hpp>
#include <terrace/log.hpp>

namespace terrace {

/// How a record is written.
enum class log_format : std::uint8_t {
    text, ///< "2026-03-01T12:00:00.250Z warning adapter breaker_opened: ...": a line for people
    json, ///< the same and the fields, as a JSON object on one line
};

/// The enumerator's name.
[[nodiscard]] TERRACE_API std::string_view to_string(log_format format) noexcept;
/// The format of a name. Throws std::invalid_argument that lists the names if there is none of this name.
[[nodiscard]] TERRACE_API log_format parse_log_format(std::string_view name);

/// One line without its end, as log_format has it. Control characters are escaped; in JSON, what is not UTF-8 is
/// replaced.
/// at  when, by the wall clock: a record's own time is the engine's
[[nodiscard]] TERRACE_API std::string to_line(const log_record& record, log_format format,
                                              std::chrono::system_clock::time_point at);

/// Writes each record of `least` or above to standard error, at the time of the call:
///
///     config.log = terrace::stderr_log(terrace::log_level::warning);
///
/// A line is one write, so that lines of several threads do not mix. It waits for whoever reads standard error: a pipe
/// that nobody empties stops the engine.
[[nodiscard]] TERRACE_API log_function stderr_log(log_level least = log_level::info,
                                                  log_format format = log_format::text);

} // namespace terrace
