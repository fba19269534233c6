// Request traces, line by line.

#include "fuzz/fuzz.hpp"

#include <algorithm>
#include <sstream>

#include "replay/trace.hpp"

namespace terrace::fuzz {
namespace {

verdict check_trace(bytes_view input)
{
    std::istringstream in{std::string{as_text(input)}};
    std::vector<replay::trace_request> requests;
    try {
        requests = replay::read_trace(in, "trace");
    } catch (const replay::trace_error& e) {
        expect(std::string_view{e.what()}.starts_with("trace:"), std::string{"an error names the file: "} + e.what());
        return verdict::refused;
    }
    for (const replay::trace_request& r : requests) {
        expect(r.input_tokens != 0, "a prompt has tokens");
        expect(r.hash_ids.size() == (r.input_tokens - 1) / replay::block_tokens + 1, "a block has an id");
    }
    std::stringstream text;
    replay::write_trace(text, requests);
    expect(replay::read_trace(text, "written") == requests, "what is written is read again");
    return verdict::accepted;
}

std::vector<bytes> trace_seeds()
{
    auto seeds = as_seeds({
        R"({"timestamp": 5, "input_length": 900, "output_length": 12, "hash_ids": [7, 9]})",
        R"({"timestamp": 0, "input_length": 1, "output_length": 0, "hash_ids": [18446744073709551615], "model": "m"})"
        "\n\r\n"
        R"({"timestamp": 1, "input_length": 512, "output_length": 0, "hash_ids": [0]})"
        "\n",
        R"({"timestamp": 5, "input_length": 900, "output_length": 12, "hash_ids": [7, 7]})",
        R"({"timestamp": 5, "input_length": 1025, "output_length": 12, "hash_ids": [7, 9]})",
        R"({"timestamp": -5, "input_length": 900, "output_length": 12, "hash_ids": [7, 9]})",
        R"({"timestamp": 1e3, "input_length": 18446744073709551615, "output_length": 12, "hash_ids": [7]})",
        R"({"timestamp": [[[["\ud800"]]]], "input_length": 900, "output_length": 12, "hash_ids": [7, 9]})",
        R"({"input_length": 900})",
        R"([{}])",
        "{",
        "\n",
    });
    return seeds;
}

const registration trace_target{{"trace", check_trace, trace_seeds}};

} // namespace
} // namespace terrace::fuzz
