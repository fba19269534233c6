#pragma once

#include <cstdint>
#include <vector>

#include "replay/trace.hpp"

namespace terrace::replay {

/// A population of multi-turn conversations. Lengths and gaps are exponentially distributed about their means, turns
/// geometrically: many short ones and a few long ones.
struct conversation_parameters {
    std::uint64_t seed = 1;                   ///< same parameters, same seed: the same trace on every machine
    std::uint64_t conversations = 200;        ///< 1 to 10^7
    double turns_mean = 5;                    ///< requests of one conversation, >= 1
    std::uint64_t system_prompts = 4;         ///< each conversation starts with one of them; >= 1
    std::uint64_t system_tokens = 2'000;      ///< of each system prompt; 0 to 10^6
    std::uint64_t user_tokens_mean = 400;     ///< that each turn adds, >= 1
    std::uint64_t output_tokens_mean = 300;   ///< of each answer, >= 1
    std::uint64_t max_input_tokens = 131'072; ///< a conversation ends before its prompt passes this
    double arrivals_per_second = 2;           ///< of new conversations: a Poisson process; 10^-6 to 10^6
    double think_seconds_mean = 20;           ///< from one turn's request to the next one's; 0 to 10^6
};

/// The conversations' requests in order of time.
///
/// A turn's prompt is the turn's before it, the answer to that, and what the user says next. A block's id stands for
/// its tokens and all before it: turns of a conversation share the ids of their full blocks, conversations with one
/// system prompt share those of its full blocks, and a last block that is not full has an id of its own in each turn.
///
/// Throws std::invalid_argument that names a parameter out of its range.
[[nodiscard]] std::vector<trace_request> generate_trace(const conversation_parameters& parameters);

} // namespace terrace::replay
