#include <algorithm>
#include <fmt/format.h>
#include <functional>

#include "help/command_help.hpp"

namespace terrace::apps {
namespace {

/// What stands between quotes, for a shell.
std::string quoted(const std::string& text)
{
    std::string out = "'";
    for (const char c : text)
        out += c == '\'' ? "'\\''" : std::string(1, c);
    return out + "'";
}

/// "terrace replay" -> "_terrace_replay"
std::string function_name(const command_help& help)
{
    std::string name = '_' + help.name;
    std::ranges::replace(name, ' ', '_');
    std::ranges::replace(name, '-', '_');
    return name;
}

// ---- bash -----------------------------------------------------------------------------------------------------------

using option_filter = std::function<bool(const option_help&)>;

/// 'terrace replay --json' | 'terrace bench --json': a pattern for the options that `wanted` picks. Empty: there are
/// none.
std::string bash_pattern(const command_help& help, const option_filter& wanted)
{
    std::vector<std::string> words;
    for (const auto* command : help.all())
        for (const auto& option : command->options)
            if (wanted(option))
                for (const auto& name : option.names)
                    words.push_back(quoted(command->name + ' ' + name));
    return fmt::format("{}", fmt::join(words, " | "));
}

/// One line of a case statement, or nothing if there is no such option.
std::string bash_case(const command_help& help, const std::string& body, const option_filter& wanted)
{
    const auto pattern = bash_pattern(help, wanted);
    return pattern.empty() ? "" : fmt::format("    {})\n        {}\n        return\n        ;;\n", pattern, body);
}

std::string bash_values(const command_help& help)
{
    std::string text;
    for (const auto* command : help.all())
        for (const auto& option : command->options)
            if (const auto choices = option.choices(); !choices.empty())
                for (const auto& name : option.names)
                    text += fmt::format("    {}) words={}; files= ;;\n", quoted(command->name + ' ' + name),
                                        quoted(fmt::format("{}", fmt::join(choices, " "))));
    return text;
}

std::string bash_commands(const command_help& help)
{
    std::string text;
    for (const auto* command : help.all()) {
        std::vector<std::string> words;
        std::vector<std::string> options;
        for (const auto& below : command->commands)
            words.push_back(below.last_name());
        bool files = false;
        for (const auto& argument : command->arguments) {
            std::ranges::copy(argument.choices(), std::back_inserter(words));
            files = files || argument.takes_file() || argument.takes_directory();
        }
        for (const auto& option : command->options)
            std::ranges::copy(option.names, std::back_inserter(options));
        text += fmt::format("    {})\n        words={}\n        options={}\n        files={}\n        ;;\n",
                            quoted(command->name), quoted(fmt::format("{}", fmt::join(words, " "))),
                            quoted(fmt::format("{}", fmt::join(options, " "))), files ? "file" : "");
    }
    return text;
}

// ---- zsh ------------------------------------------------------------------------------------------------------------

/// What _arguments takes within brackets, and what it takes for a message.
std::string zsh_escaped(const std::string& text)
{
    std::string out;
    for (const char c : text) {
        if (c == '[' || c == ']' || c == ':' || c == '\\')
            out += '\\';
        out += c;
    }
    return out;
}

/// ":FILE:_files", the part of a specification that says what the value is.
std::string zsh_value(const option_help& option)
{
    if (option.is_flag())
        return {};
    std::string action = " ";
    if (const auto choices = option.choices(); !choices.empty())
        action = fmt::format("({})", fmt::join(choices, " "));
    else if (option.takes_directory())
        action = "_files -/";
    else if (option.takes_file())
        action = "_files";
    return fmt::format(":{}:{}", zsh_escaped(option.value), action);
}

std::string zsh_option(const option_help& option, const std::string& name)
{
    std::string others; // names after which this one is not offered any more: its own
    if (!option.repeatable)
        others = fmt::format("({})", fmt::join(option.names, " "));
    const bool takes_equals_sign = name.starts_with("--") && !option.is_flag(); // --out=file as well as --out file
    return quoted(fmt::format("{}{}{}{}[{}]{}", others, option.repeatable ? "*" : "", name,
                              takes_equals_sign ? "=" : "", zsh_escaped(option.description), zsh_value(option)));
}

std::string zsh_function(const command_help& help)
{
    auto text = fmt::format("{}() {{\n    local context state state_descr line curcontext=$curcontext\n"
                            "    typeset -A opt_args\n    _arguments -s -C",
                            function_name(help));
    for (const auto& option : help.options)
        for (const auto& name : option.names)
            text += " \\\n        " + zsh_option(option, name);
    for (std::size_t i = 0; i < help.arguments.size(); ++i) {
        const auto& argument = help.arguments[i];
        const auto place = argument.repeatable ? "*" : fmt::to_string(i + 1);
        text += " \\\n        " +
                quoted(place + (argument.required || argument.repeatable ? "" : ":") + zsh_value(argument));
    }
    if (help.commands.empty())
        return text + "\n}\n\n";
    text += " \\\n        '1:command:->command' \\\n        '*::argument:->arguments'\n";
    text += "    case $state in\n    command)\n        local -a commands=(";
    for (const auto& command : help.commands)
        text += fmt::format("\n            {}", quoted(command.last_name() + ':' + zsh_escaped(command.summary)));
    text += ")\n        _describe -t commands command commands\n        ;;\n    arguments)\n        case $line[1] in\n";
    for (const auto& command : help.commands)
        text += fmt::format("        {}) {} ;;\n", command.last_name(), function_name(command));
    return text + "        esac\n        ;;\n    esac\n}\n\n";
}

// ---- fish -----------------------------------------------------------------------------------------------------------

/// When the words typed so far are those of this command, and of none below it.
std::string fish_condition(const command_help& help, const std::string& program)
{
    std::string condition;
    std::string path = help.name;
    for (auto start = path.find(' '); start != std::string::npos;) {
        const auto end = path.find(' ', start + 1);
        condition += fmt::format("{}__fish_seen_subcommand_from {}", condition.empty() ? "" : "; and ",
                                 path.substr(start + 1, end == std::string::npos ? end : end - start - 1));
        start = end;
    }
    if (help.name == program)
        return "__fish_use_subcommand";
    if (!help.commands.empty()) {
        condition += "; and not __fish_seen_subcommand_from";
        for (const auto& command : help.commands)
            condition += ' ' + command.last_name();
    }
    return condition;
}

std::string fish_value(const option_help& option)
{
    if (const auto choices = option.choices(); !choices.empty())
        return fmt::format(" -x -a {}", quoted(fmt::format("{}", fmt::join(choices, " "))));
    if (option.takes_directory())
        return " -x -a '(__fish_complete_directories)'";
    if (option.takes_file())
        return " -r -F";
    return option.is_flag() ? "" : " -x";
}

std::string fish_command(const command_help& help, const std::string& program)
{
    const auto start = fmt::format("complete -c {} -n {}", program, quoted(fish_condition(help, program)));
    std::string text;
    for (const auto& command : help.commands)
        text += fmt::format("{} -a {} -d {}\n", start, command.last_name(), quoted(command.summary));
    for (const auto& argument : help.arguments) {
        if (const auto choices = argument.choices(); !choices.empty())
            text += fmt::format("{} -a {}\n", start, quoted(fmt::format("{}", fmt::join(choices, " "))));
        else if (argument.takes_file() || argument.takes_directory())
            text += start + " -F\n";
    }
    for (const auto& option : help.options) {
        auto line = start;
        for (const auto& name : option.names)
            line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
        text += fmt::format("{}{} -d {}\n", line, fish_value(option), quoted(option.description));
    }
    return text;
}

} // namespace

std::string to_bash_completion(const command_help& help)
{
    std::vector<std::string> paths;
    for (const auto* command : help.all())
        if (command->name != help.name)
            paths.push_back(quoted(command->name));
    const auto takes_value = bash_pattern(help, [](const option_help& option) { return !option.is_flag(); });

    auto text = fmt::format("# bash completion for {0}, made by `{0} completion bash`\n\n", help.name);
    text += fmt::format("_{}_takes_value() {{\n    case $1 in\n    {}) return 0 ;;\n    esac\n    return 1\n}}\n\n",
                        help.name, takes_value);
    text += fmt::format(R"(_{0}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} path={0} words= options= files= i
    COMPREPLY=()
    if [[ $word == = ]]; then # --option=
        word=
    elif [[ $before == = ]]; then # --option=val
        before=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    for ((i = 1; i < COMP_CWORD; ++i)); do
        if _{0}_takes_value "$path ${{COMP_WORDS[i]}}"; then
            [[ ${{COMP_WORDS[i + 1]}} != = ]] || ((++i))
            ((++i))
            continue
        fi
        case "$path ${{COMP_WORDS[i]}}" in
        {1}) path+=" ${{COMP_WORDS[i]}}" ;;
        esac
    done
    case "$path $before" in
)",
                        help.name, fmt::join(paths, " | "));
    text += bash_case(help, R"(compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word"))",
                      [](const option_help& option) { return option.takes_file(); });
    text += bash_case(help, R"(compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$word"))",
                      [](const option_help& option) { return option.takes_directory(); });
    text += bash_case(help, ": # nothing is known of its value", [](const option_help& option) {
        return !option.is_flag() && !option.takes_file() && !option.takes_directory() && option.choices().empty();
    });
    text += bash_values(help);
    text +=
        "    esac\n    if [[ -n $words ]]; then\n        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
        "        return\n    fi\n    case $path in\n";
    text += bash_commands(help);
    text += fmt::format(R"(    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
        if [[ -n $files ]]; then
            compopt -o filenames 2>/dev/null
            mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -f -- "$word")
        fi
    fi
}}

complete -F _{0} {0}
)",
                        help.name);
    return text;
}

std::string to_zsh_completion(const command_help& help)
{
    auto text = fmt::format("#compdef {0}\n# zsh completion for {0}, made by `{0} completion zsh`\n\n", help.name);
    auto commands = help.all();
    std::ranges::reverse(commands);
    for (const auto* command : commands)
        text += zsh_function(*command);
    // Autoloaded, the file is the function's body; sourced, it registers the function.
    return text + fmt::format("if [[ $funcstack[1] == _{0} ]]; then\n    _{0} \"$@\"\nelse\n    compdef _{0} {0}\nfi\n",
                              help.name);
}

std::string to_fish_completion(const command_help& help)
{
    auto text =
        fmt::format("# fish completion for {0}, made by `{0} completion fish`\n\ncomplete -c {0} -f\n", help.name);
    for (const auto* command : help.all())
        text += fish_command(*command, help.name);
    return text;
}

} // namespace terrace::apps
