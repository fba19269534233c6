#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>

#include "replay/trace_generator.hpp"

using namespace terrace::replay;

namespace {

using ids = std::vector<std::uint64_t>;

std::size_t common_prefix(const ids& a, const ids& b)
{
    return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

/// One conversation, so that each request is a turn of it.
conversation_parameters one_conversation(std::uint64_t seed)
{
    return {.seed = seed, .conversations = 1, .turns_mean = 20, .system_prompts = 1, .system_tokens = 1'300};
}

} // namespace

TEST_CASE("generator: the same parameters and seed make the same trace, another seed makes another")
{
    const conversation_parameters p{.seed = 7, .conversations = 30};
    auto other = p;
    other.seed = 8;
    CHECK(generate_trace(p) == generate_trace(p));
    CHECK(generate_trace(p) != generate_trace(other));
}

TEST_CASE("generator: a trace is the same on every machine")
{
    const auto trace =
        generate_trace({.seed = 2, .conversations = 2, .turns_mean = 3, .system_prompts = 1, .system_tokens = 600});
    std::ostringstream out;
    write_trace(out, trace);
    CHECK(out.str() == R"({"timestamp": 0, "input_length": 2058, "output_length": 320, "hash_ids": [0, 1, 2, 3, 4]}
{"timestamp": 84, "input_length": 661, "output_length": 25, "hash_ids": [0, 5]}
{"timestamp": 21145, "input_length": 2908, "output_length": 407, "hash_ids": [0, 1, 2, 3, 6, 7]}
{"timestamp": 23497, "input_length": 1565, "output_length": 9, "hash_ids": [0, 8, 9, 10]}
{"timestamp": 27908, "input_length": 3550, "output_length": 235, "hash_ids": [0, 1, 2, 3, 6, 11, 12]}
)");
}

TEST_CASE("generator: what it makes is a well-formed trace in order of time, its ids numbered by first use")
{
    const auto trace = generate_trace({.seed = 3, .conversations = 50});
    std::stringstream text;
    write_trace(text, trace);
    CHECK(read_trace(text, "generated") == trace);
    CHECK(std::ranges::is_sorted(trace, {}, &trace_request::timestamp_ms));
    std::uint64_t next = 0;
    for (const auto& request : trace)
        for (auto id : request.hash_ids) {
            REQUIRE(id <= next);
            next = std::max(next, id + 1);
        }
}

TEST_CASE("generator: a turn shares all full blocks of the turn before it, and no other")
{
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        const auto turns = generate_trace(one_conversation(seed));
        for (std::size_t i = 1; i < turns.size(); ++i) {
            const auto& last = turns[i - 1];
            CHECK(turns[i].input_tokens > last.input_tokens + last.output_tokens);
            CHECK(common_prefix(last.hash_ids, turns[i].hash_ids) == last.input_tokens / block_tokens);
        }
    }
}

TEST_CASE("generator: conversations share the full blocks of their system prompt, and nothing else")
{
    const auto trace =
        generate_trace({.seed = 5, .conversations = 40, .turns_mean = 1, .system_prompts = 2, .system_tokens = 1'100});
    std::set<std::uint64_t> heads;
    std::map<std::uint64_t, int> uses;
    REQUIRE(trace.size() == 40);
    for (const auto& request : trace) {
        heads.insert(request.hash_ids.at(0));
        for (std::size_t i = 2; i < request.hash_ids.size(); ++i)
            CHECK(++uses[request.hash_ids[i]] == 1);
    }
    CHECK(heads.size() == 2);
    for (const auto& request : trace) {
        const auto same_prompt = std::ranges::find_if(
            trace, [&](const trace_request& other) { return other.hash_ids[0] == request.hash_ids[0]; });
        CHECK(same_prompt->hash_ids[1] == request.hash_ids[1]);
    }
}

TEST_CASE("generator: a prompt never passes the limit, and each conversation has a first turn")
{
    conversation_parameters p{.seed = 2, .conversations = 100, .turns_mean = 50, .system_tokens = 900};
    p.max_input_tokens = 1'000;
    const auto trace = generate_trace(p);
    CHECK(trace.size() >= 100);
    for (const auto& request : trace) {
        CHECK(request.input_tokens > 900);
        CHECK(request.input_tokens <= 1'000);
    }
}

TEST_CASE("generator: the means are about what was asked for")
{
    const conversation_parameters p{.seed = 11,
                                    .conversations = 20'000,
                                    .turns_mean = 3,
                                    .system_tokens = 0,
                                    .output_tokens_mean = 200,
                                    .arrivals_per_second = 4};
    const auto trace = generate_trace(p);
    const auto requests = static_cast<double>(trace.size());
    double output = 0;
    for (const auto& request : trace)
        output += static_cast<double>(request.output_tokens);
    CHECK(requests / 20'000 == doctest::Approx(3).epsilon(0.03));
    CHECK(output / requests == doctest::Approx(200).epsilon(0.03));
    CHECK(static_cast<double>(trace.back().timestamp_ms) / 1e3 == doctest::Approx(20'000 / 4.0).epsilon(0.1));
}

TEST_CASE("generator: a parameter out of its range is named with its value")
{
    auto complaint = [](auto change) {
        conversation_parameters p;
        change(p);
        try {
            (void)generate_trace(p);
        } catch (const std::invalid_argument& e) {
            return std::string{e.what()};
        }
        return std::string{"none"};
    };
    CHECK(complaint([](auto& p) { p.conversations = 0; }) == "conversations is 0, expected 1 to 10000000");
    CHECK(complaint([](auto& p) { p.turns_mean = 0.5; }) == "turns is 0.5, expected 1 to 1000000");
    CHECK(complaint([](auto& p) { p.turns_mean = std::nan(""); }) == "turns is nan, expected 1 to 1000000");
    CHECK(complaint([](auto& p) { p.system_prompts = 0; }) == "system prompts is 0, expected 1 to 1000000");
    CHECK(complaint([](auto& p) { p.user_tokens_mean = 0; }) == "user tokens is 0, expected 1 to 1000000");
    CHECK(complaint([](auto& p) { p.max_input_tokens = p.system_tokens; }) ==
          "max input tokens is 2000, expected more than the system tokens");
    CHECK(complaint([](auto& p) { p.arrivals_per_second = 0; }) ==
          "arrivals per second is 0, expected 1e-06 to 1000000");
}
