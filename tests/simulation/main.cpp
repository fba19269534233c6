// terrace_simulation [--seeds N] [--first SEED] [--operations N] [--jobs N] [--no-shrinking] [--tell]
//
// Runs one world for each seed, each in its turn, on several processes. What fails is run again, shrunk, and told. A
// world that computes for more than a minute ends its process, and has failed.

#include "simulation/simulation.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fmt/format.h>
#include <string>
#include <sys/time.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using namespace terrace::simulation;

struct arguments {
    std::uint64_t seeds = 2000;
    std::uint64_t first = 1;
    std::size_t operations = 200;
    std::size_t jobs = std::max(1U, std::thread::hardware_concurrency());
    bool shrinks = true;
    bool tell = false;
};

/// Ends this process once it has computed for another minute. On a busy machine that takes longer by the clock.
void limit_time()
{
    itimerval minute{};
    minute.it_value.tv_sec = 60;
    ::setitimer(ITIMER_PROF, &minute, nullptr);
}

/// Runs in a child, so that a broken assertion ends only that. False: it failed.
bool holds(const run_options& options, bool quiet)
{
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        if (quiet && std::freopen("/dev/null", "w", stderr) == nullptr)
            ::_exit(3);
        limit_time();
        const auto first = simulate(options);
        if (!first.failure.empty())
            fmt::print(stderr, "seed {}: {}\n", options.seed, first.failure);
        std::fflush(nullptr);
        ::_exit(first.failure.empty() ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// The fewest operations after which the seed still fails.
std::size_t shrink(run_options options)
{
    std::size_t least = options.operations;
    for (std::size_t step = least / 2; step != 0; step /= 2)
        while (least > step) {
            options.operations = least - step;
            if (holds(options, true))
                break;
            least -= step;
        }
    return least;
}

/// Runs every jobs-th seed from `first` on; 0: all of them held.
int run_seeds(const arguments& args, std::size_t job)
{
    std::uint64_t handlers = 0;
    std::uint64_t checks = 0;
    for (std::uint64_t i = job; i < args.seeds; i += args.jobs) {
        run_options options;
        options.seed = args.first + i;
        options.operations = args.operations;
        fmt::print("{}\n", options.seed); // for the parent, in case this process dies of it
        std::fflush(stdout);
        limit_time();
        const auto result = simulate(options);
        handlers += result.handlers;
        checks += result.checks;
        if (!result.failure.empty()) {
            fmt::print(stderr, "seed {}: {}\n", options.seed, result.failure);
            return 1;
        }
        if (i % 64 == 0 && simulate(options).digest != result.digest) {
            fmt::print(stderr, "seed {}: a second run of it went another way\n", options.seed);
            return 1;
        }
    }
    fmt::print("done {} {}\n", handlers, checks);
    return 0;
}

/// One process and what it says.
struct job {
    pid_t process = 0;
    std::FILE* output = nullptr;
};

job start(const arguments& args, std::size_t number)
{
    int ends[2];
    if (::pipe(ends) != 0)
        throw std::runtime_error("no pipe");
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(ends[1], 1);
        ::close(ends[0]);
        ::close(ends[1]);
        const int status = run_seeds(args, number);
        std::fflush(nullptr);
        ::_exit(status);
    }
    ::close(ends[1]);
    return {child, ::fdopen(ends[0], "r")};
}

int run_all(const arguments& args)
{
    const auto began = std::chrono::steady_clock::now();
    std::vector<job> jobs;
    for (std::size_t i = 0; i < args.jobs; ++i)
        jobs.push_back(start(args, i));
    int failed = 0;
    unsigned long long handlers = 0;
    unsigned long long checks = 0;
    for (const job& j : jobs) {
        unsigned long long last = 0;
        unsigned long long some_handlers = 0;
        unsigned long long some_checks = 0;
        char line[128];
        while (std::fgets(line, sizeof line, j.output) != nullptr)
            if (std::sscanf(line, "done %llu %llu", &some_handlers, &some_checks) != 2)
                (void)std::sscanf(line, "%llu", &last);
        std::fclose(j.output);
        handlers += some_handlers;
        checks += some_checks;
        int status = 0;
        ::waitpid(j.process, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            continue;
        ++failed;
        run_options options;
        options.seed = last;
        options.operations = args.operations;
        const std::size_t least = args.shrinks ? shrink(options) : args.operations;
        fmt::print(stderr, "again, and told: terrace_simulation --first {} --seeds 1 --operations {} --tell\n", last,
                   least);
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    fmt::print("{} seeds of {} operations: {}, {} handlers, {} checks, {:.1f} s\n", args.seeds, args.operations,
               failed == 0 ? "all held" : "NOT ALL HELD", handlers, checks, took.count());
    return failed == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv)
{
    arguments args;
    CLI::App app{"Simulates the engine under chance, seed by seed", "terrace_simulation"};
    app.add_option("--seeds", args.seeds, "how many")->capture_default_str();
    app.add_option("--first", args.first, "the first of them")->capture_default_str();
    app.add_option("--operations", args.operations, "of the clients of each world")->capture_default_str();
    app.add_option("--jobs", args.jobs, "processes")->check(CLI::Range(1, 1024))->capture_default_str();
    app.add_flag("!--no-shrinking", args.shrinks, "do not look for the fewest operations that fail");
    app.add_flag("--tell", args.tell, "print what happens; for one seed");
    CLI11_PARSE(app, argc, argv);
    if (!args.tell)
        return run_all(args);
    run_options options;
    options.seed = args.first;
    options.operations = args.operations;
    options.tell = true;
    const auto result = simulate(options);
    fmt::print("{}\n", result.failure.empty() ? "held" : result.failure);
    return result.failure.empty() ? 0 : 1;
}
