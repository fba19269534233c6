#include "replay/trace_generator.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <random>
#include <stdexcept>
#include <tuple>

namespace terrace::replay {
namespace {

/// Random numbers that are the same everywhere: std::mt19937_64 is specified to the bit, the standard distributions are
/// not, and std::log rounds as its library likes. So everything here is made of integers and comparisons.
class dice {
public:
    explicit dice(std::uint64_t seed) : engine_{seed} {}

    /// 0 to n - 1. The remainder's bias is below n / 2^64.
    std::uint64_t below(std::uint64_t n) { return engine_() % n; }

    bool chance(double probability) { return static_cast<double>(engine_() >> 11) < probability * 0x1p53; }

    /// Exponentially distributed about `mean`, which is at most 2^43: rounded down.
    ///
    /// Source: von Neumann, "Various techniques used in connection with random digits" (1951). A run of falling uniform
    /// numbers has an odd length with probability e^-u of its first, u; a run of even length adds 1 and starts again.
    std::uint64_t exponential(std::uint64_t mean)
    {
        for (std::uint64_t whole = 0;; ++whole) {
            const auto first = fraction();
            bool odd = true;
            for (auto last = first, next = fraction(); next < last; last = next, next = fraction())
                odd = !odd;
            if (odd)
                return whole * mean + ((mean * first) >> fraction_bits);
        }
    }

private:
    static constexpr int fraction_bits = 20; // mean * fraction stays below 2^63
    std::uint64_t fraction() { return engine_() >> (64 - fraction_bits); }

    std::mt19937_64 engine_;
};

/// One request, before its blocks have ids.
struct turn {
    std::uint64_t at_us = 0;
    std::uint64_t conversation = 0;
    std::uint64_t number = 0; // within its conversation
    std::uint64_t input_tokens = 0;
    std::uint64_t output_tokens = 0;
};

void expect(bool holds, const char* name, double value, const char* range)
{
    if (!holds)
        throw std::invalid_argument(fmt::format("{} is {}, expected {}", name, value, range));
}

void expect(bool holds, const char* name, std::uint64_t value, const char* range)
{
    if (!holds)
        throw std::invalid_argument(fmt::format("{} is {}, expected {}", name, value, range));
}

void check(const conversation_parameters& p)
{
    constexpr std::uint64_t million = 1'000'000;
    auto within = [](auto value, auto least, auto most) { return value >= least && value <= most; };
    expect(within(p.conversations, 1U, 10 * million), "conversations", p.conversations, "1 to 10000000");
    expect(within(p.turns_mean, 1.0, 1e6), "turns", p.turns_mean, "1 to 1000000");
    expect(within(p.system_prompts, 1U, million), "system prompts", p.system_prompts, "1 to 1000000");
    expect(p.system_tokens <= million, "system tokens", p.system_tokens, "0 to 1000000");
    expect(within(p.user_tokens_mean, 1U, million), "user tokens", p.user_tokens_mean, "1 to 1000000");
    expect(within(p.output_tokens_mean, 1U, million), "output tokens", p.output_tokens_mean, "1 to 1000000");
    expect(p.max_input_tokens > p.system_tokens, "max input tokens", p.max_input_tokens, "more than the system tokens");
    expect(within(p.arrivals_per_second, 1e-6, 1e6), "arrivals per second", p.arrivals_per_second, "1e-06 to 1000000");
    expect(within(p.think_seconds_mean, 0.0, 1e6), "think seconds", p.think_seconds_mean, "0 to 1000000");
}

std::uint64_t microseconds(double seconds)
{
    return static_cast<std::uint64_t>(seconds * 1e6 + 0.5);
}

/// The turns of one conversation, appended.
void hold_conversation(const conversation_parameters& p, dice& random, std::uint64_t number, std::uint64_t at_us,
                       std::vector<turn>& turns)
{
    const auto think_us = microseconds(p.think_seconds_mean);
    auto length = [&](std::uint64_t mean) { return 1 + random.exponential(mean - 1); };
    turn next{.at_us = at_us, .conversation = number};
    // The first turn is always asked, however little of it the limit leaves.
    next.input_tokens = std::min(p.system_tokens + length(p.user_tokens_mean), p.max_input_tokens);
    do {
        next.output_tokens = length(p.output_tokens_mean);
        turns.push_back(next);
        next.at_us += random.exponential(think_us);
        next.input_tokens += next.output_tokens + length(p.user_tokens_mean);
        ++next.number;
    } while (random.chance(1 - 1 / p.turns_mean) && next.input_tokens <= p.max_input_tokens);
}

/// Hands out ids in order of first use.
class block_names {
public:
    explicit block_names(const conversation_parameters& p)
        : shared_blocks_{p.system_tokens / block_tokens},
          prompts_(p.system_prompts),
          conversations_(p.conversations)
    {
    }

    /// prompt  the system prompt that the conversation starts with
    std::vector<std::uint64_t> of(const turn& t, std::uint64_t prompt)
    {
        extend(prompts_[prompt], shared_blocks_);
        auto ids = prompts_[prompt];
        auto& own = conversations_[t.conversation]; // its full blocks behind the system prompt's
        extend(own, t.input_tokens / block_tokens - shared_blocks_);
        ids.insert(ids.end(), own.begin(), own.end());
        if (t.input_tokens % block_tokens != 0)
            ids.push_back(next_++);
        return ids;
    }

private:
    void extend(std::vector<std::uint64_t>& ids, std::uint64_t size)
    {
        while (ids.size() < size)
            ids.push_back(next_++);
    }

    std::uint64_t shared_blocks_;
    std::uint64_t next_ = 0;
    std::vector<std::vector<std::uint64_t>> prompts_;
    std::vector<std::vector<std::uint64_t>> conversations_;
};

} // namespace

std::vector<trace_request> generate_trace(const conversation_parameters& parameters)
{
    check(parameters);
    dice random{parameters.seed};
    const auto gap_us = microseconds(1 / parameters.arrivals_per_second);

    std::vector<turn> turns;
    std::vector<std::uint64_t> prompt_of;
    std::uint64_t now_us = 0;
    for (std::uint64_t i = 0; i < parameters.conversations; ++i) {
        prompt_of.push_back(random.below(parameters.system_prompts));
        hold_conversation(parameters, random, i, now_us, turns);
        now_us += random.exponential(gap_us);
    }
    std::ranges::sort(turns, {}, [](const turn& t) { return std::tuple{t.at_us, t.conversation, t.number}; });

    block_names names{parameters};
    std::vector<trace_request> requests;
    requests.reserve(turns.size());
    for (const auto& t : turns)
        requests.push_back({t.at_us / 1'000, t.input_tokens, t.output_tokens, names.of(t, prompt_of[t.conversation])});
    return requests;
}

} // namespace terrace::replay
