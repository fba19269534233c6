#include "help/command_help.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <fmt/format.h>
#include <sstream>

namespace terrace::apps {
namespace {

std::string full_name(const CLI::App& app)
{
    return app.get_parent() == nullptr ? app.get_name() : full_name(*app.get_parent()) + ' ' + app.get_name();
}

/// CLI11 hands footers down; only those that an app did not get from above are its own.
std::string own_footer(const CLI::App& app)
{
    for (const CLI::App* above = app.get_parent(); above != nullptr; above = above->get_parent())
        if (above->get_footer() == app.get_footer())
            return {};
    return app.get_footer();
}

/// --help and --version, which every program has.
bool is_general(const option_help& option)
{
    return std::ranges::any_of(option.names,
                               [](const std::string& name) { return name == "--help" || name == "--version"; });
}

option_help describe(const CLI::Option& option)
{
    option_help help;
    if (!option.get_positional()) {
        for (const auto& name : option.get_snames())
            help.names.push_back('-' + name);
        for (const auto& name : option.get_lnames())
            help.names.push_back("--" + name);
    }
    if (option.get_items_expected_max() > 0)
        help.value = option.get_type_name().empty() ? option.get_name() : option.get_type_name();
    help.default_value = option.get_default_str();
    help.description = option.get_description();
    help.group = option.get_group();
    help.required = option.get_required();
    help.repeatable = option.get_items_expected_max() > 1;
    if (is_general(help))
        help.group = general_group;
    return help;
}

/// Adds the options that an app has itself, or that it takes for the one below it.
void add_options(command_help& help, const CLI::App& app, bool inherited)
{
    for (const CLI::Option* option : app.get_options()) {
        if (option->get_group().empty())
            continue;
        auto described = describe(*option);
        if (inherited && (is_general(described) || described.names.empty()))
            continue;
        if (inherited)
            described.group = fmt::format("Options of {}", full_name(app));
        (described.names.empty() ? help.arguments : help.options).push_back(std::move(described));
    }
}

/// Puts the groups one after the other, in the order of their first options, and the general one at the end.
void sort_by_group(std::vector<option_help>& options)
{
    std::vector<std::string> order;
    for (const auto& option : options)
        if (std::ranges::find(order, option.group) == order.end() && option.group != general_group)
            order.push_back(option.group);
    std::ranges::stable_sort(
        options, {}, [&](const option_help& option) { return std::ranges::find(order, option.group) - order.begin(); });
}

} // namespace

std::vector<std::string> option_help::choices() const
{
    std::vector<std::string> words;
    if (value.find('|') == std::string::npos)
        return words;
    std::istringstream text{value};
    for (std::string word; std::getline(text, word, '|');)
        if (std::ranges::none_of(word, [](unsigned char c) { return std::isupper(c) != 0; }))
            words.push_back(word);
    return words;
}

std::string command_help::last_name() const
{
    return name.substr(name.rfind(' ') + 1);
}

std::vector<const command_help*> command_help::all() const&
{
    std::vector<const command_help*> found{this};
    for (const auto& command : commands)
        for (const auto* below : command.all())
            found.push_back(below);
    return found;
}

bool command_help::has_page() const
{
    const bool own_options = std::ranges::any_of(options, [](const option_help& option) {
        return option.group != general_group && !option.group.starts_with("Options of ");
    });
    return own_options || !arguments.empty() || !commands.empty() || !examples.empty() || !details.empty();
}

std::string command_help::page_name() const
{
    std::string page = name;
    std::ranges::replace(page, ' ', '-');
    return page;
}

command_help describe(const CLI::App& app)
{
    command_help help;
    help.name = full_name(app);
    const std::string description = app.get_description();
    const auto end_of_line = std::min(description.find('\n'), description.size());
    help.summary = description.substr(0, end_of_line);
    help.details = description.substr(std::min(end_of_line + 1, description.size()));
    help.examples = own_footer(app);
    add_options(help, app, false);
    for (const CLI::App* above = &app; above->get_fallthrough() && above->get_parent() != nullptr;) {
        above = above->get_parent();
        add_options(help, *above, true);
    }
    sort_by_group(help.options);
    for (const CLI::App* command : app.get_subcommands([](const CLI::App* sub) { return !sub->get_group().empty(); }))
        help.commands.push_back(describe(*command));
    return help;
}

std::string usage(const command_help& help)
{
    std::string text = help.name;
    bool more_options = false;
    for (const auto& option : help.options) {
        if (option.required)
            text += fmt::format(" {} {}", option.names.back(), option.value);
        else if (option.group != general_group)
            more_options = true;
    }
    if (more_options)
        text += " [OPTION...]";
    if (!help.commands.empty())
        text += " COMMAND";
    for (const auto& argument : help.arguments) {
        const auto* dots = argument.repeatable ? "..." : "";
        text += fmt::format(argument.required ? fmt::runtime(" {}{}") : fmt::runtime(" [{}{}]"), argument.value, dots);
    }
    return text;
}

} // namespace terrace::apps
