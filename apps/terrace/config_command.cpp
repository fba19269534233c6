#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <memory>
#include <string>

#include <terrace/adapter_registry.hpp>
#include <terrace/configuration.hpp>

#include "commands.hpp"
#include "settings.hpp"

namespace terrace::apps {
namespace {

struct arguments {
    std::string file;
    setting_arguments settings;
    bool toml = false;
};

int run_check(const arguments& args)
{
    configuration_sources sources;
    sources.file = read_configuration_file(args.file);
    sources.check_adapter = check_adapter;
    const configuration values = read_configuration(sources);
    fmt::print("{}: nothing wrong (settings: {}, adapters: {})\n", args.file,
               std::ranges::count_if(values.origins,
                                     [](const auto& origin) { return !origin.first.starts_with("adapters["); }),
               values.adapters.size());
    return exit_ok;
}

int run_show(const arguments& args)
{
    const configuration values = read_settings(args.settings);
    fmt::print("{}", args.toml ? to_toml(values) : to_table(values));
    return exit_ok;
}

} // namespace

void add_config(CLI::App& app, command& chosen)
{
    auto args = std::make_shared<arguments>();
    auto* sub = app.add_subcommand("config", "Check a configuration, or show what it comes to\n"
                                             "Settings come from a TOML file, from the environment and from flags; a "
                                             "flag goes before the environment, and that before the file. Each has a "
                                             "default.");
    sub->require_subcommand(1);

    auto* check = sub->add_subcommand("check", "Read a file, and name everything that is wrong with it\n"
                                               "It opens no adapter. The exit status is 2 if anything is wrong.");
    check->add_option("file", args->file, "a TOML file")->required()->type_name("FILE");
    check->callback([args, &chosen] { chosen = [args] { return run_check(*args); }; });

    auto* show = sub->add_subcommand("show", "Show every setting: its value, its unit, and where it comes from\n"
                                             "That is the default, a line of a file, a variable of the environment, or "
                                             "--set.");
    add_setting_options(*show, args->settings, "What is read");
    show->add_flag("--toml", args->toml, "as a file for --config")->group("What is shown");
    check->footer("# is anything wrong with this file?\nterrace config check terrace.toml");
    show->footer("# what does it come to, with a larger L1?\n"
                 "terrace config show --config terrace.toml --set l1.capacity=16GiB\n"
                 "# a file of all defaults, to start with\n"
                 "terrace config show --toml > terrace.toml");
    sub->footer("# every setting, with its default\nterrace config show\n"
                "# is anything wrong with this file?\nterrace config check terrace.toml");
    show->callback([args, &chosen] { chosen = [args] { return run_show(*args); }; });
}

} // namespace terrace::apps
