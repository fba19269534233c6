#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace terrace::apps {

/// What the command line asked for; answers the exit status.
using command = std::function<int()>;

/// What the program tells whoever started it.
enum exit_status : int {
    exit_ok = 0,
    exit_failed = 1,   ///< the job could not be done, or not all of it
    exit_usage = 2,    ///< the command line or the input is at fault
    exit_signal = 128, ///< plus the signal that ended the job early
};

/// Each adds a subcommand, which puts itself into `chosen` when the command line names it. A command throws
/// std::invalid_argument or trace_error for what exit_usage stands for, and other exceptions for exit_failed.
void add_replay(CLI::App& app, command& chosen);
void add_generate(CLI::App& app, command& chosen);
void add_inspect(CLI::App& app, command& chosen);
void add_config(CLI::App& app, command& chosen);
void add_bench(CLI::App& app, command& chosen);
void add_completion(CLI::App& app, command& chosen);
void add_man(CLI::App& app, command& chosen);

/// Adds all of them, and what the program says of itself. `app` outlives what `chosen` gets.
void add_commands(CLI::App& app, command& chosen);

} // namespace terrace::apps
