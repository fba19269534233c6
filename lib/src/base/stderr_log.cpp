#include <terrace/stderr_log.hpp>

#include <array>
#include <cstdio>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace terrace {
namespace {

using json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 4> level_names{"debug", "info", "warning", "error"};
constexpr std::array<std::string_view, 2> format_names{"text", "json"};

/// The enumerator whose name stands at its place in `names`.
template <class Enum, std::size_t N>
Enum parse_name(std::string_view what, const std::array<std::string_view, N>& names, std::string_view name)
{
    for (std::size_t i = 0; i < N; ++i)
        if (names[i] == name)
            return static_cast<Enum>(i);
    throw std::invalid_argument(fmt::format("{} {:?}: expected one of {}", what, name, fmt::join(names, ", ")));
}

/// "2026-03-01T12:00:00.250Z"
std::string timestamp(std::chrono::system_clock::time_point at)
{
    const auto whole = std::chrono::floor<std::chrono::seconds>(at);
    const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(at - whole);
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(whole)),
                       rest.count());
}

/// What came from anywhere must not end the line, or move the cursor.
std::string without_controls(std::string_view text)
{
    std::string clean;
    for (const char c : text)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            clean += fmt::format("\\x{:02x}", c);
        else
            clean += c;
    return clean;
}

std::string to_json_line(const log_record& record, std::chrono::system_clock::time_point at)
{
    json object{{"time", timestamp(at)},
                {"level", to_string(record.level)},
                {"component", record.component},
                {"event", record.event},
                {"message", record.message}};
    for (const log_field& field : record.fields)
        std::visit([&](const auto& value) { object[std::string{field.name}] = value; }, field.value);
    return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

} // namespace

std::string_view to_string(log_level level) noexcept
{
    return level_names[static_cast<std::size_t>(level)];
}

log_level parse_log_level(std::string_view name)
{
    return parse_name<log_level>("log level", level_names, name);
}

std::string_view to_string(log_format format) noexcept
{
    return format_names[static_cast<std::size_t>(format)];
}

log_format parse_log_format(std::string_view name)
{
    return parse_name<log_format>("log format", format_names, name);
}

std::string to_line(const log_record& record, log_format format, std::chrono::system_clock::time_point at)
{
    if (format == log_format::json)
        return to_json_line(record, at);
    return fmt::format("{} {} {} {}: {}", timestamp(at), to_string(record.level), record.component, record.event,
                       without_controls(record.message));
}

log_function stderr_log(log_level least, log_format format)
{
    return [least, format](const log_record& record) {
        if (record.level < least)
            return;
        const std::string line = to_line(record, format, std::chrono::system_clock::now()) + '\n';
        std::fwrite(line.data(), 1, line.size(), stderr); // which is not buffered
    };
}

} // namespace terrace
