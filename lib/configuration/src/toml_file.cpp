#include "toml_file.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <toml++/toml.h>

namespace terrace {
namespace {

std::uint32_t line_of(const toml::node& node)
{
    return static_cast<std::uint32_t>(node.source().begin.line);
}

/// Takes a file apart, table by table.
class toml_walk {
public:
    explicit toml_walk(const configuration_file& file) : name_{file.name} {}

    file_contents result;

    void walk_file(const toml::table& root)
    {
        for (const auto& [key, node] : root)
            if (key == "adapters")
                walk_adapters(node);
            else
                walk(std::string{key.str()}, node, result.values);
        std::ranges::stable_sort(result.values, {}, &file_value::line);
    }

private:
    void walk(const std::string& key, const toml::node& node, std::vector<file_value>& into)
    {
        if (const toml::table* table = node.as_table()) {
            for (const auto& [name, inner] : *table)
                walk(fmt::format("{}.{}", key, name.str()), inner, into);
            return;
        }
        file_value value{key, {}, line_of(node), {}};
        if (auto text = text_of(node))
            value.text = std::move(*text);
        else
            value.problem = fmt::format("{} is {}; expected a string, a number, true or false", key, kind_of(node));
        into.push_back(std::move(value));
    }

    void walk_adapters(const toml::node& node)
    {
        result.has_adapters = true;
        const toml::array* array = node.as_array();
        if (array == nullptr)
            return complain(node,
                            fmt::format("adapters is {}; expected tables such as [[adapters]], or an array of specs",
                                        kind_of(node)));
        for (const toml::node& element : *array) {
            file_adapter_table adapter{line_of(element), {}};
            if (const auto* spec = element.as_string())
                adapter.values.push_back({"spec", spec->get(), adapter.line, {}});
            else if (const toml::table* table = element.as_table()) {
                for (const auto& [name, inner] : *table)
                    walk(std::string{name.str()}, inner, adapter.values);
                std::ranges::stable_sort(adapter.values, {}, &file_value::line);
            } else {
                complain(element, fmt::format("an adapter is {}; expected a table or a spec", kind_of(element)));
                continue;
            }
            result.adapters.push_back(std::move(adapter));
        }
    }

    static std::optional<std::string> text_of(const toml::node& node)
    {
        if (const auto* text = node.as_string())
            return text->get();
        if (const auto* number = node.as_integer())
            return fmt::format("{}", number->get());
        if (const auto* number = node.as_floating_point())
            return fmt::format("{}", number->get());
        if (const auto* flag = node.as_boolean())
            return flag->get() ? "true" : "false";
        return std::nullopt;
    }

    static std::string_view kind_of(const toml::node& node)
    {
        switch (node.type()) {
        case toml::node_type::table:
            return "a table";
        case toml::node_type::array:
            return "an array";
        case toml::node_type::date:
        case toml::node_type::time:
        case toml::node_type::date_time:
            return "a date or a time";
        default:
            return "a single value";
        }
    }

    void complain(const toml::node& node, std::string_view what)
    {
        result.problems.push_back(fmt::format("{}:{}: {}", name_, line_of(node), what));
    }

    const std::string& name_;
};

} // namespace

file_contents parse_toml(const configuration_file& file)
{
    toml_walk walk{file};
    try {
        walk.walk_file(toml::parse(file.text, file.name));
    } catch (const toml::parse_error& e) {
        walk.result.problems.push_back(
            fmt::format("{}:{}:{}: {}", file.name, e.source().begin.line, e.source().begin.column, e.description()));
    }
    return std::move(walk.result);
}

} // namespace terrace
