// What the fuzzers do for minutes, for a moment and in every preset: their seeds, what they have found, and inputs that
// differ from those a little.

#include "fuzz/fuzz.hpp"

#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <random>

using namespace terrace::fuzz;

namespace {

constexpr int rounds = 3000;

struct saved_input {
    std::string name;
    bytes content;
};

std::vector<saved_input> saved_inputs(const target& t)
{
    std::vector<saved_input> inputs;
    std::size_t n = 0;
    for (bytes& seed : t.seeds())
        inputs.push_back({fmt::format("seed {}", n++), std::move(seed)});
    const auto folder = std::filesystem::path{TERRACE_FUZZ_CORPUS} / t.name;
    if (!std::filesystem::exists(folder))
        return inputs;
    for (const auto& entry : std::filesystem::directory_iterator{folder}) {
        std::ifstream file{entry.path(), std::ios::binary};
        const std::string text{std::istreambuf_iterator<char>{file}, {}};
        inputs.push_back({entry.path().filename().string(), as_bytes(text)});
    }
    std::ranges::sort(inputs, {}, &saved_input::name);
    return inputs;
}

/// Changes inputs at random, in ways that parsers mind.
class mutator {
public:
    explicit mutator(std::uint64_t seed) : random_{seed} {}

    std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }

    bytes changed(bytes input, const bytes& other)
    {
        for (auto times = 1 + below(3); times != 0; --times)
            change(input, other);
        return input;
    }

private:
    void change(bytes& input, const bytes& other)
    {
        const std::size_t at = below(input.size() + 1);
        const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
        const auto length = std::min<std::size_t>(1 + below(16), input.size() - at);
        switch (below(6)) {
        case 0:
            input.insert(place, any_byte());
            break;
        case 1:
            input.erase(place, place + static_cast<std::ptrdiff_t>(length));
            break;
        case 2: // as numbers at their limits have it
            std::fill_n(place, length, below(2) == 0 ? std::byte{0} : std::byte{0xff});
            break;
        case 3: // goes on as the other does
            input.resize(at);
            if (at < other.size())
                input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(at), other.end());
            break;
        default:
            if (at < input.size())
                *place = below(2) == 0 ? any_byte() : *place ^ static_cast<std::byte>(1U << below(8));
        }
    }

    std::byte any_byte()
    {
        constexpr std::string_view telling = "@%/?&=:;.,\"{}[]0123456789abcdefKMG\0\x01\xff";
        return below(2) == 0 ? static_cast<std::byte>(telling[below(telling.size())])
                             : static_cast<std::byte>(below(256));
    }

    std::mt19937_64 random_;
};

std::string hexadecimal(const bytes& input)
{
    std::string text;
    for (const std::byte b : input)
        text += fmt::format("{:02x}", static_cast<unsigned>(b));
    return text;
}

/// What an input comes to; a finding says which it was.
verdict judge(const target& t, const bytes& input, const std::string& name)
{
    try {
        return t.check(input);
    } catch (const std::exception& e) {
        FAIL_CHECK(t.name << ", " << name << ": " << std::string{e.what()} << "; input: " << hexadecimal(input));
        return verdict::refused;
    }
}

} // namespace

#define FOR_EACH_TARGET(t)                                                                                             \
    for (const target& t : targets())                                                                                  \
    SUBCASE(std::string{t.name}.c_str())

TEST_CASE("fuzz: what is saved holds, and has inputs that are accepted and such that are refused")
{
    FOR_EACH_TARGET(t)
    {
        std::size_t accepted = 0;
        const auto inputs = saved_inputs(t);
        for (const saved_input& input : inputs)
            accepted += judge(t, input.content, input.name) == verdict::accepted ? 1 : 0;
        CHECK(accepted > 0);
        CHECK(accepted < inputs.size());
    }
}

TEST_CASE("fuzz: so do inputs that differ from those a little")
{
    FOR_EACH_TARGET(t)
    {
        const auto all = saved_inputs(t);
        std::vector<saved_input> good; // where most begin: a bad input is seldom accepted for a little change
        std::ranges::copy_if(all, std::back_inserter(good), [&](const saved_input& input) {
            return judge(t, input.content, input.name) == verdict::accepted;
        });
        REQUIRE(!good.empty());
        mutator random{1};
        std::size_t accepted = 0;
        for (int round = 0; round < rounds; ++round) {
            const auto& from = random.below(4) == 0 ? all : good;
            const auto& input = from[random.below(from.size())];
            const auto& other = all[random.below(all.size())];
            const bytes changed = random.changed(input.content, other.content);
            accepted += judge(t, changed, fmt::format("{}, round {}", input.name, round)) == verdict::accepted ? 1 : 0;
        }
        CAPTURE(accepted);
        CHECK(accepted > rounds / 100); // or the mutations say nothing of what comes behind the door
        CHECK(accepted < rounds);
    }
}
