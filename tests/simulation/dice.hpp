#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>

namespace terrace::simulation {

/// Chance, all from one seed.
class dice {
public:
    explicit dice(std::uint64_t seed) : random_{seed} {}
    std::uint64_t below(std::uint64_t n) { return std::uniform_int_distribution<std::uint64_t>{0, n - 1}(random_); }
    bool one_in(std::uint64_t n) { return below(n) == 0; }
    template <class T, std::size_t N>
    T any(const T (&choices)[N])
    {
        return choices[below(N)];
    }
    std::chrono::milliseconds up_to(std::chrono::milliseconds most)
    {
        return std::chrono::milliseconds{below(static_cast<std::uint64_t>(most.count()) + 1)};
    }

private:
    std::mt19937_64 random_;
};

} // namespace terrace::simulation
