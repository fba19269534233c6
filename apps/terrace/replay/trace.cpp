#include "replay/trace.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <nlohmann/json.hpp>

namespace terrace::replay {
namespace {

using nlohmann::json;

/// Whether there are more levels of arrays and objects than these.
bool is_deeper_than(int levels, const json& value)
{
    return value.is_structured() &&
           (levels == 0 || std::ranges::any_of(value, [&](const json& v) { return is_deeper_than(levels - 1, v); }));
}

/// The value as the message shows it, cut where it would flood the terminal, or the stack: dump() calls itself.
std::string shown(const json& value)
{
    if (is_deeper_than(8, value))
        return value.is_array() ? "[...]" : "{...}";
    auto text = value.dump(-1, ' ', true, json::error_handler_t::replace);
    if (text.size() > 60)
        text.replace(57, std::string::npos, "...");
    return text;
}

const json& field(const json& line, const char* name)
{
    auto found = line.find(name);
    if (found == line.end())
        throw trace_error(fmt::format("\"{}\" is missing", name));
    return *found;
}

std::uint64_t whole_number(const json& line, const char* name)
{
    const auto& value = field(line, name);
    if (!value.is_number_unsigned())
        throw trace_error(fmt::format("\"{}\" is {}, expected a whole number >= 0", name, shown(value)));
    return value.get<std::uint64_t>();
}

std::vector<std::uint64_t> hash_ids(const json& line)
{
    const auto& list = field(line, "hash_ids");
    if (!list.is_array())
        throw trace_error(fmt::format("\"hash_ids\" is {}, expected an array of whole numbers", shown(list)));
    std::vector<std::uint64_t> ids;
    ids.reserve(list.size());
    for (const auto& id : list) {
        if (!id.is_number_unsigned())
            throw trace_error(fmt::format("\"hash_ids\" holds {}, expected whole numbers >= 0", shown(id)));
        ids.push_back(id.get<std::uint64_t>());
    }
    return ids;
}

void expect_distinct(std::vector<std::uint64_t> ids)
{
    std::ranges::sort(ids);
    auto twice = std::ranges::adjacent_find(ids);
    if (twice != ids.end())
        throw trace_error(fmt::format("\"hash_ids\" holds {} more than once, expected an id for each block", *twice));
}

trace_request parse_line(const std::string& text)
{
    json line;
    try {
        line = json::parse(text);
    } catch (const json::parse_error& e) {
        throw trace_error(fmt::format("not JSON: syntax error at column {}", e.byte));
    } catch (const json::out_of_range& e) {
        const std::string_view what = e.what(); // "... parsing '1e999'"
        throw trace_error(fmt::format("holds {:.60}, which is beyond a double; expected whole numbers >= 0",
                                      what.substr(std::min(what.find('\''), what.size()))));
    }
    if (!line.is_object())
        throw trace_error(fmt::format("{} is not a JSON object", shown(line)));

    trace_request request;
    request.timestamp_ms = whole_number(line, "timestamp");
    request.input_tokens = whole_number(line, "input_length");
    request.output_tokens = whole_number(line, "output_length");
    request.hash_ids = hash_ids(line);
    if (request.hash_ids.empty())
        throw trace_error("\"hash_ids\" is empty, expected an id for each block of the prompt");
    auto blocks = request.input_tokens / block_tokens + (request.input_tokens % block_tokens != 0 ? 1 : 0);
    if (request.hash_ids.size() != blocks)
        throw trace_error(
            fmt::format("\"hash_ids\" holds {} ids, expected {}: one for each {} tokens of input_length {}",
                        request.hash_ids.size(), blocks, block_tokens, request.input_tokens));
    expect_distinct(request.hash_ids);
    return request;
}

} // namespace

std::vector<trace_request> read_trace(std::istream& in, const std::string& name, std::size_t most)
{
    std::vector<trace_request> requests;
    std::string text;
    for (std::size_t number = 1; requests.size() < most && std::getline(in, text); ++number) {
        if (text.find_first_not_of(" \t\r") == std::string::npos)
            continue;
        try {
            requests.push_back(parse_line(text));
        } catch (const trace_error& e) {
            throw trace_error(fmt::format("{}:{}: {}", name, number, e.what()));
        }
    }
    if (in.bad())
        throw trace_error(fmt::format("{}: cannot be read: {}", name, std::strerror(errno)));
    if (requests.empty())
        throw trace_error(fmt::format("{}: holds no request", name));
    return requests;
}

std::vector<trace_request> read_trace(const std::filesystem::path& file, std::size_t most)
{
    std::error_code ignored;
    if (std::filesystem::is_directory(file, ignored)) // which opens, and then reads as an empty file
        throw trace_error(fmt::format("{}: is a directory, expected a trace", file.string()));
    std::ifstream in{file};
    if (!in)
        throw trace_error(fmt::format("{}: cannot be opened: {}", file.string(), std::strerror(errno)));
    return read_trace(in, file.string(), most);
}

void write_trace(std::ostream& out, std::span<const trace_request> requests)
{
    for (const auto& r : requests)
        out << fmt::format("{{\"timestamp\": {}, \"input_length\": {}, \"output_length\": {}, \"hash_ids\": [{}]}}\n",
                           r.timestamp_ms, r.input_tokens, r.output_tokens, fmt::join(r.hash_ids, ", "));
}

} // namespace terrace::replay
