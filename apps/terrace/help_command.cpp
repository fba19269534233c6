#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <terrace/version.hpp>

#include "commands.hpp"
#include "help/command_help.hpp"
#include "replay/output_file.hpp"

namespace terrace::apps {
namespace {

struct man_arguments {
    std::vector<std::string> words;
    std::string directory;
};

std::string release()
{
    return "terrace " TERRACE_VERSION;
}

void write_file(const std::filesystem::path& path, const std::string& text)
{
    replay::output_file file{path};
    file.stream() << text;
    file.commit();
}

/// The command that the words name, below `help`.
const command_help& find_command(const command_help& help, const std::vector<std::string>& words)
{
    const auto wanted = fmt::format("{}{}{}", help.name, words.empty() ? "" : " ", fmt::join(words, " "));
    std::string known;
    for (const auto* command : help.all()) {
        if (command->name == wanted)
            return *command;
        known += fmt::format("{}{}", known.empty() ? "" : ", ", command->name);
    }
    throw std::invalid_argument(fmt::format("man: there is no command `{}`; there are {}", wanted, known));
}

int run_man(const command_help& help, const man_arguments& args)
{
    const auto& command = find_command(help, args.words);
    if (args.directory.empty()) {
        fmt::print("{}", to_man_page(command, release()));
        return exit_ok;
    }
    std::filesystem::create_directories(args.directory);
    for (const auto* one : command.all())
        if (one->has_page())
            write_file(std::filesystem::path{args.directory} / (one->page_name() + ".1"), to_man_page(*one, release()));
    return exit_ok;
}

int run_completion(const command_help& help, const std::string& shell)
{
    if (shell == "bash")
        fmt::print("{}", to_bash_completion(help));
    else if (shell == "zsh")
        fmt::print("{}", to_zsh_completion(help));
    else if (shell == "fish")
        fmt::print("{}", to_fish_completion(help));
    else
        throw std::invalid_argument(fmt::format("completion: the shell is \"{}\", expected bash, zsh or fish", shell));
    return exit_ok;
}

} // namespace

void add_completion(CLI::App& app, command& chosen)
{
    auto shell = std::make_shared<std::string>();
    auto* sub = app.add_subcommand("completion", "Print a script that lets a shell complete terrace's command lines\n"
                                                 "The packages install it where the shell looks for it.");
    sub->add_option("shell", *shell, "the shell that is to run it")->required()->type_name("bash|zsh|fish");
    sub->footer("# for this shell\n"
                "source <(terrace completion bash)\n"
                "# for every fish to come\n"
                "terrace completion fish > ~/.config/fish/completions/terrace.fish");
    sub->callback([&app, shell, &chosen] { chosen = [&app, shell] { return run_completion(describe(app), *shell); }; });
}

void add_man(CLI::App& app, command& chosen)
{
    auto args = std::make_shared<man_arguments>();
    auto* sub = app.add_subcommand("man", "Print a man page, or write all of them\n"
                                          "They say what the commands' --help says.");
    sub->add_option("command", args->words, "the command that the page is about; none: terrace itself")
        ->type_name("COMMAND");
    sub->add_option("--directory", args->directory, "write the page, and those of the commands below it, here")
        ->type_name("DIR")
        ->group("Where to");
    sub->footer("# read a page that is not installed\n"
                "terrace man replay | man -l -\n"
                "# write all of them\n"
                "terrace man --directory man1");
    sub->callback([&app, args, &chosen] { chosen = [&app, args] { return run_man(describe(app), *args); }; });
}

} // namespace terrace::apps
