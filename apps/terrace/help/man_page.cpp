#include <cctype>
#include <fmt/format.h>
#include <sstream>

#include "help/command_help.hpp"

namespace terrace::apps {
namespace {

/// Text as roff sees it: hyphens that can be copied, backslashes that are shown, no line that is a request.
std::string escaped(const std::string& text)
{
    std::string out;
    for (const char c : text) {
        if (c == '\\')
            out += "\\e";
        else if (c == '-')
            out += "\\-";
        else if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n'))
            out += fmt::format("\\&{}", c);
        else
            out += c;
    }
    return out;
}

std::string bold(const std::string& text)
{
    return fmt::format("\\fB{}\\fR", escaped(text));
}

/// FILE in italics; of lru|none, and of asap|real|X, the words as they are typed.
std::string value(const std::string& text)
{
    std::istringstream alternatives{text};
    std::string out;
    for (std::string word; std::getline(alternatives, word, '|');) {
        const bool stands_for_something = std::isupper(static_cast<unsigned char>(word.front())) != 0;
        out += fmt::format("{}\\f{}{}\\fR", out.empty() ? "" : "|", stands_for_something ? 'I' : 'B', escaped(word));
    }
    return out;
}

std::string synopsis(const command_help& help)
{
    std::string text = bold(help.name);
    bool more_options = false;
    for (const auto& option : help.options) {
        if (option.required)
            text += fmt::format(" {} {}", bold(option.names.back()), value(option.value));
        else if (option.group != general_group)
            more_options = true;
    }
    if (more_options)
        text += " [\\fIOPTION\\fR...]";
    if (!help.commands.empty())
        text += " \\fICOMMAND\\fR";
    for (const auto& argument : help.arguments) {
        const auto shown = value(argument.value) + (argument.repeatable ? "..." : "");
        text += argument.required ? ' ' + shown : fmt::format(" [{}]", shown);
    }
    return text;
}

std::string sentence(const std::string& text)
{
    return text.empty() || text.ends_with('.') ? escaped(text) : escaped(text) + '.';
}

std::string option_entry(const option_help& option)
{
    std::string head;
    for (const auto& name : option.names)
        head += (head.empty() ? "" : ", ") + bold(name);
    if (!option.is_flag())
        head += (head.empty() ? "" : " ") + value(option.value);
    auto text = fmt::format(".TP\n{}\n{}\n", head, sentence(option.description));
    if (option.required && !option.names.empty())
        text += "It must be given.\n";
    if (option.repeatable && !option.names.empty())
        text += "It may be given more than once.\n";
    if (!option.default_value.empty())
        text += fmt::format("Default: {}\n", bold(option.default_value));
    return text;
}

std::string options_section(const command_help& help)
{
    std::string text;
    std::string group;
    for (const auto& option : help.options) {
        if (option.group != group) {
            group = option.group;
            text += fmt::format(".SS {}\n", escaped(group));
        }
        text += option_entry(option);
    }
    return text;
}

std::string examples_section(const std::string& examples)
{
    std::istringstream lines{examples};
    std::string text = ".nf\n";
    for (std::string line; std::getline(lines, line);)
        text += escaped(line) + '\n';
    return text + ".fi\n";
}

/// The pages of the commands below, and of the one above.
std::string see_also(const command_help& help)
{
    std::string text;
    auto add = [&](const std::string& page) {
        text += fmt::format("{}\\fB{}\\fR(1)", text.empty() ? "" : ",\n", escaped(page));
    };
    if (const auto end = help.page_name().rfind('-'); end != std::string::npos)
        add(help.page_name().substr(0, end));
    for (const auto& command : help.commands)
        if (command.has_page())
            add(command.page_name());
    return text;
}

std::string upper(std::string text)
{
    for (char& c : text)
        c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return text;
}

} // namespace

std::string to_man_page(const command_help& help, const std::string& release)
{
    auto text = fmt::format(".TH {} 1 \"\" \"{}\" \"User Commands\"\n", escaped(upper(help.page_name())), release);
    text += fmt::format(".SH NAME\n{} \\- {}\n", escaped(help.page_name()), escaped(help.summary));
    text += fmt::format(".SH SYNOPSIS\n{}\n", synopsis(help));
    text += fmt::format(".SH DESCRIPTION\n{}\n", sentence(help.summary));
    std::istringstream details{help.details};
    for (std::string paragraph; std::getline(details, paragraph);)
        text += fmt::format(".PP\n{}\n", escaped(paragraph));
    if (!help.commands.empty()) {
        text += ".SH COMMANDS\n";
        for (const auto& command : help.commands)
            text += fmt::format(".TP\n{}\n{}\n", bold(command.last_name()), sentence(command.summary));
    }
    if (!help.arguments.empty()) {
        text += ".SH ARGUMENTS\n";
        for (const auto& argument : help.arguments)
            text += option_entry(argument);
    }
    text += ".SH OPTIONS\n" + options_section(help);
    if (!help.examples.empty())
        text += ".SH EXAMPLES\n" + examples_section(help.examples);
    text += ".SH EXIT STATUS\n"
            ".TP\n\\fB0\\fR\nThe job is done.\n"
            ".TP\n\\fB1\\fR\nThe job could not be done, or not all of it.\n"
            ".TP\n\\fB2\\fR\nThe command line or the input is at fault.\n"
            ".TP\n\\fB128\\fR and more\nA signal ended the job early: 128 plus its number.\n";
    if (const auto pages = see_also(help); !pages.empty())
        text += ".SH SEE ALSO\n" + pages + '\n';
    return text;
}

} // namespace terrace::apps
