#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <terrace/configuration.hpp>

namespace CLI {
class App;
}

namespace terrace::apps {

/// What the command line says about the configuration, whatever the command.
struct setting_arguments {
    std::optional<std::string> file;      ///< --config
    std::vector<std::string> assignments; ///< --set KEY=VALUE
};

/// Adds --config and --set, which the help has under the subject `group`.
void add_setting_options(CLI::App& app, setting_arguments& args, const std::string& group);

/// The configuration file. Throws std::invalid_argument if it cannot be read.
[[nodiscard]] configuration_file read_configuration_file(const std::string& path);

/// Reads file, environment and flags over `defaults`. Those of --set come last, and so count before `flags`.
/// Throws configuration_error, and std::invalid_argument for a --set that is no assignment.
[[nodiscard]] configuration read_settings(const setting_arguments& args, std::vector<configuration_flag> flags = {},
                                          configuration defaults = {});

} // namespace terrace::apps
