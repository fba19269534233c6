#include "base/log_events.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>

#include <terrace/stderr_log.hpp>

using namespace terrace;

namespace {

constexpr std::chrono::system_clock::time_point noon{std::chrono::seconds{1'772'366'400} +
                                                     std::chrono::milliseconds{250}};

log_record tripped()
{
    log_record record;
    record.level = log_level::warning;
    record.component = "adapter";
    record.event = "breaker_opened";
    record.message = "no load in file:/x for 1 s";
    record.fields = {{"id", std::uint64_t{2}}, {"reason", std::string{"no \"answer\""}}};
    return record;
}

} // namespace

TEST_CASE("log: a line for people has the message, one for programs all fields")
{
    CHECK(to_line(tripped(), log_format::text, noon) ==
          "2026-03-01T12:00:00.250Z warning adapter breaker_opened: no load in file:/x for 1 s");
    CHECK(to_line(tripped(), log_format::json, noon) ==
          R"({"time":"2026-03-01T12:00:00.250Z","level":"warning","component":"adapter","event":"breaker_opened",)"
          R"("message":"no load in file:/x for 1 s","id":2,"reason":"no \"answer\""})");
}

TEST_CASE("log: a line is one line, whatever an adapter says")
{
    log_record record = tripped();
    record.message = "a\nb\x1b[2J \xc3\xa4 \xff";
    CHECK(to_line(record, log_format::text, noon).ends_with("breaker_opened: a\\x0ab\\x1b[2J \xc3\xa4 \xff"));
    const std::string line = to_line(record, log_format::json, noon);
    CHECK(line.find('\n') == std::string::npos);
    CHECK(nlohmann::json::parse(line)["message"] == "a\nb\x1b[2J \xc3\xa4 \xef\xbf\xbd");
}

TEST_CASE("log: levels and formats have names")
{
    for (const log_level level : {log_level::debug, log_level::info, log_level::warning, log_level::error})
        CHECK(parse_log_level(to_string(level)) == level);
    for (const log_format format : {log_format::text, log_format::json})
        CHECK(parse_log_format(to_string(format)) == format);
    CHECK_THROWS_WITH_AS((void)parse_log_level("loud"),
                         "log level \"loud\": expected one of debug, info, warning, error", std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)parse_log_format("xml"), "log format \"xml\": expected one of text, json",
                         std::invalid_argument);
}

TEST_CASE("log: docs/logging.md has a row for each event, and no other")
{
    std::set<std::string> documented;
    std::ifstream page{TERRACE_SOURCE_DIR "/docs/logging.md"};
    for (std::string line; std::getline(page, line);)
        if (line.starts_with("| `"))
            documented.insert(line);
    for (const log_event& event : log_events::all) {
        const std::string row =
            fmt::format("| `{}` | {} | {} | {} |", event.name, to_string(event.level), event.component, event.meaning);
        CAPTURE(row);
        CHECK(documented.erase(row) == 1);
    }
    for (const std::string& row : documented)
        FAIL_CHECK("no such event: " << row);
}
