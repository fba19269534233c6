#include "settings.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <stdexcept>
#include <system_error>

#include <terrace/adapter_registry.hpp>

namespace terrace::apps {

void add_setting_options(CLI::App& app, setting_arguments& args, const std::string& group)
{
    app.add_option("--config", args.file, "a TOML file with settings: see terrace config show")
        ->type_name("FILE")
        ->group(group);
    app.add_option("--set", args.assignments, "one setting, as --set l1.huge_pages=reserved; more than once for more")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false)
        ->group(group);
}

configuration_file read_configuration_file(const std::string& path)
{
    try {
        return configuration_file::read(path);
    } catch (const std::system_error& e) {
        throw std::invalid_argument(e.what());
    }
}

configuration read_settings(const setting_arguments& args, std::vector<configuration_flag> flags,
                            configuration defaults)
{
    configuration_sources sources;
    if (args.file)
        sources.file = read_configuration_file(*args.file);
    sources.environment = terrace_environment();
    sources.flags = std::move(flags);
    for (const std::string& assignment : args.assignments) {
        const auto equals = assignment.find('=');
        if (equals == std::string::npos || equals == 0)
            throw std::invalid_argument(
                fmt::format("--set {:?}: expected KEY=VALUE, such as l1.capacity=16GiB", assignment));
        sources.flags.push_back({"--set", assignment.substr(0, equals), assignment.substr(equals + 1)});
    }
    sources.check_adapter = check_adapter;
    return read_configuration(sources, std::move(defaults));
}

} // namespace terrace::apps
