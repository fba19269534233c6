#include <fmt/format.h>
#include <sstream>

#include "help/command_help.hpp"

namespace terrace::apps {
namespace {

constexpr std::size_t description_column = 26;

/// Words of `text` in lines that begin at `indent` and end before `columns`; the first is begun at `at` already.
std::string wrapped(const std::string& text, std::size_t at, std::size_t indent, std::size_t columns)
{
    std::istringstream words{text};
    std::string lines;
    bool line_has_word = false;
    for (std::string word; words >> word;) {
        if (line_has_word && at + 1 + word.size() > columns) {
            lines += '\n' + std::string(indent, ' ');
            at = indent;
            line_has_word = false;
        }
        if (line_has_word) {
            lines += ' ';
            ++at;
        }
        lines += word;
        at += word.size();
        line_has_word = true;
    }
    return lines + '\n';
}

/// Something and what it means, in two columns.
std::string entry(const std::string& what, const std::string& meaning, std::size_t columns)
{
    std::string line = "  " + what;
    if (line.size() + 2 > description_column)
        line += '\n' + std::string(description_column, ' ');
    else
        line.resize(description_column, ' ');
    return line + wrapped(meaning, description_column, description_column, columns);
}

std::string left_column(const option_help& option)
{
    auto text = fmt::format("{}", fmt::join(option.names, ", "));
    if (!option.is_flag())
        text += (text.empty() ? "" : " ") + option.value;
    if (option.repeatable && option.names.empty())
        text += "...";
    return text;
}

std::string right_column(const option_help& option)
{
    auto text = option.description;
    if (option.required && !option.names.empty())
        text += " (required)";
    if (option.repeatable && !option.names.empty())
        text += " (more than once)";
    if (!option.default_value.empty())
        text += fmt::format(" [{}]", option.default_value);
    return text;
}

std::string entries(const std::vector<option_help>& options, std::size_t columns)
{
    std::string text;
    std::string group;
    for (const auto& option : options) {
        if (!option.names.empty() && option.group != group) {
            group = option.group;
            text += fmt::format("\n{}:\n", group);
        }
        text += entry(left_column(option), right_column(option), columns);
    }
    return text;
}

std::string indented(const std::string& lines)
{
    std::istringstream text{lines};
    std::string out;
    for (std::string line; std::getline(text, line);)
        out += line.empty() ? "\n" : fmt::format("  {}\n", line);
    return out;
}

} // namespace

std::string to_text(const command_help& help, std::size_t columns)
{
    std::string text = wrapped(help.summary + '.', 0, 0, columns);
    std::istringstream details{help.details};
    for (std::string paragraph; std::getline(details, paragraph);)
        text += '\n' + wrapped(paragraph, 0, 0, columns);
    text += "\nUsage: " + wrapped(usage(help), 7, 9, columns);
    if (!help.commands.empty()) {
        text += "\nCommands:\n";
        for (const auto& command : help.commands)
            text += entry(command.last_name(), command.summary, columns);
    }
    if (!help.arguments.empty())
        text += "\nArguments:\n" + entries(help.arguments, columns);
    text += entries(help.options, columns);
    if (!help.examples.empty())
        text += "\nExamples:\n" + indented(help.examples);
    if (!help.commands.empty())
        text += '\n' + wrapped(fmt::format("`{} COMMAND --help` says more about a command.", help.name), 0, 0, columns);
    return text;
}

} // namespace terrace::apps
