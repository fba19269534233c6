#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <sstream>
#include <string>

#include "replay/trace.hpp"

using namespace terrace::replay;

namespace {

const std::string good = R"({"timestamp": 5, "input_length": 900, "output_length": 12, "hash_ids": [7, 9]})";

std::vector<trace_request> read(const std::string& text, std::size_t most = all_requests)
{
    std::istringstream in{text};
    return read_trace(in, "t.jsonl", most);
}

/// What read_trace() says of a trace whose third line is this.
std::string complaint(const std::string& third)
{
    try {
        (void)read(good + "\n" + good + "\n" + third + "\n");
    } catch (const trace_error& e) {
        return e.what();
    }
    return "none";
}

} // namespace

TEST_CASE("trace: a line becomes a request")
{
    const auto requests = read(good + "\n");
    REQUIRE(requests.size() == 1);
    CHECK(requests[0] == trace_request{5, 900, 12, {7, 9}});
}

TEST_CASE("trace: blank lines, fields of other names and a missing last newline do no harm")
{
    const auto requests =
        read("\n" + good + "\r\n  \n" +
             R"({"model": "m", "hash_ids": [0], "output_length": 0, "timestamp": 6, "input_length": 512})");
    REQUIRE(requests.size() == 2);
    CHECK(requests[1] == trace_request{6, 512, 0, {0}});
}

TEST_CASE("trace: what follows the requests that are wanted is not looked at")
{
    CHECK(read(good + "\n" + good + "\nnonsense\n", 2).size() == 2);
}

TEST_CASE("trace: a malformed line is named with its number and what was wrong with it")
{
    auto line = [](std::string field, std::string value) {
        std::string text = good;
        const auto at = text.find("\"" + field + "\": ") + field.size() + 4;
        const auto end = field == "hash_ids" ? text.find(']', at) + 1 : text.find(',', at);
        return text.replace(at, end - at, value);
    };
    const std::string at = "t.jsonl:3: ";
    CHECK(complaint("{\"timestamp\": 1,") == at + "not JSON: syntax error at column 17");
    CHECK(complaint("[1, 2]") == at + "[1,2] is not a JSON object");
    const std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']'); // showing it would take a stack
    CHECK(complaint(deep) == at + "[...] is not a JSON object");
    CHECK(complaint(R"({"timestamp": )" + deep + "}") == at + "\"timestamp\" is [...], expected a whole number >= 0");
    CHECK(complaint(line("timestamp", "1e999")) ==
          at + "holds '1e999', which is beyond a double; expected whole numbers >= 0");
    CHECK(complaint("{}") == at + "\"timestamp\" is missing");
    CHECK(complaint(line("timestamp", "-1")) == at + "\"timestamp\" is -1, expected a whole number >= 0");
    CHECK(complaint(line("input_length", "\"900\"")) ==
          at + "\"input_length\" is \"900\", expected a whole number >= 0");
    CHECK(complaint(line("output_length", "1.5")) == at + "\"output_length\" is 1.5, expected a whole number >= 0");
    CHECK(complaint(line("hash_ids", "7")) == at + "\"hash_ids\" is 7, expected an array of whole numbers");
    CHECK(complaint(line("hash_ids", "[7, -9]")) == at + "\"hash_ids\" holds -9, expected whole numbers >= 0");
    CHECK(complaint(line("hash_ids", "[7, null]")) == at + "\"hash_ids\" holds null, expected whole numbers >= 0");
    CHECK(complaint(line("hash_ids", "[]")) ==
          at + "\"hash_ids\" is empty, expected an id for each block of the prompt");
    CHECK(complaint(line("hash_ids", "[7, 7]")) ==
          at + "\"hash_ids\" holds 7 more than once, expected an id for each block");
    CHECK(complaint(line("hash_ids", "[7, 8, 9]")) ==
          at + "\"hash_ids\" holds 3 ids, expected 2: one for each 512 tokens of input_length 900");
    CHECK(complaint(line("input_length", "1025")) ==
          at + "\"hash_ids\" holds 2 ids, expected 3: one for each 512 tokens of input_length 1025");
}

TEST_CASE("trace: a long value is cut in the message")
{
    const auto text = complaint(R"({"timestamp": ")" + std::string(1000, 'x') + "\"}");
    CHECK(text.size() < 150);
    CHECK(text.find("xxx...") != std::string::npos);
}

TEST_CASE("trace: one without requests is an error")
{
    CHECK_THROWS_WITH_AS((void)read(""), "t.jsonl: holds no request", trace_error);
    CHECK_THROWS_WITH_AS((void)read("\n\n"), "t.jsonl: holds no request", trace_error);
}

TEST_CASE("trace: a file that cannot be read is an error that names it")
{
    CHECK_THROWS_WITH_AS((void)read_trace(std::filesystem::path{"/no/such/trace"}),
                         "/no/such/trace: cannot be opened: No such file or directory", trace_error);
    CHECK_THROWS_WITH_AS((void)read_trace(std::filesystem::path{"/tmp"}), "/tmp: is a directory, expected a trace",
                         trace_error);
}

TEST_CASE("trace: what is written reads back as it was")
{
    const std::vector<trace_request> requests{{0, 1, 0, {0}}, {18'446'744'073'709'551'615U, 1024, 3, {4, 2}}};
    std::ostringstream out;
    write_trace(out, requests);
    CHECK(read(out.str()) == requests);
}
