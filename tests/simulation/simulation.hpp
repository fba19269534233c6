#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace terrace::simulation {

/// One run of a world that its seed decides entirely.
struct run_options {
    std::uint64_t seed = 1;
    std::size_t operations = 200; ///< of all clients together
    bool tell = false;            ///< print what happens
};

struct run_result {
    std::string failure;      ///< empty: every check held
    std::uint64_t digest = 0; ///< of all that happened, in order: equal runs have equal ones
    std::uint64_t handlers = 0;
    std::uint64_t checks = 0;
};

/// Runs the engine on one thread and virtual time, over adapters that misbehave, with clients that do all that callers
/// can do, and checks after every handler what must always hold. A broken assertion of the engine ends the process.
[[nodiscard]] run_result simulate(const run_options& options);

} // namespace terrace::simulation
