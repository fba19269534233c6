#include <algorithm>
#include <fmt/format.h>

#include <terrace/configuration.hpp>
#include <terrace/quota_table.hpp>
#include <terrace/setting.hpp>
#include <terrace/text_options.hpp>

namespace terrace {
namespace {

/// A value as it is shown.
struct shown_value {
    std::string key;   ///< below its table
    std::string value; ///< as set() takes it
    std::string unit;
    bool quoted = true; ///< in TOML
    std::string origin;
};

/// A table of the file; the first has no name.
struct shown_table {
    std::string name;
    bool one_of_many = false; ///< of adapters
    std::vector<shown_value> values;
};

std::string origin_of(const configuration& values, const std::string& key)
{
    const auto found = values.origins.find(key);
    return found == values.origins.end() ? "default" : found->second;
}

/// Numbers stand without quotes, but for what TOML has no number for: none, and more than 63 bits.
bool needs_quotes(const std::string& type, const std::string& value)
{
    return (type != "count" && type != "share") || value == "none" || value.size() > 18;
}

shown_table& table_named(std::vector<shown_table>& tables, const std::string& name)
{
    const auto found = std::ranges::find(tables, name, &shown_table::name);
    return found != tables.end() ? *found : tables.emplace_back(shown_table{name, false, {}});
}

void add_quotas(std::vector<shown_table>& tables, const configuration& values)
{
    if (values.engine.eviction.quotas == nullptr)
        return;
    for (const quota_table::quota& quota : values.engine.eviction.quotas->list())
        table_named(tables, "eviction.quotas")
            .values.push_back({quota.salt, format_exact_bytes(quota.bytes), "", true,
                               origin_of(values, "eviction.quotas." + quota.salt)});
}

/// All that is set, in the order of the settings; what is in no table comes first, as TOML wants it.
std::vector<shown_table> shown(const configuration& values)
{
    std::vector<shown_table> tables(1);
    for (const setting& s : settings()) {
        const auto dot = s.key.find('.');
        const std::string name = dot == std::string::npos ? "" : s.key.substr(0, dot);
        const std::string value = s.get(values);
        table_named(tables, name)
            .values.push_back(
                {s.key.substr(dot + 1), value, s.unit, needs_quotes(s.type, value), origin_of(values, s.key)});
    }
    add_quotas(tables, values);
    for (std::size_t i = 0; i < values.adapters.size(); ++i) {
        shown_table adapter{"adapters", true, {}};
        for (const adapter_setting& s : adapter_settings()) {
            const std::string value = s.get(values.adapters[i]);
            adapter.values.push_back({s.key, value, s.unit, needs_quotes(s.type, value),
                                      origin_of(values, fmt::format("adapters[{}].{}", i, s.key))});
        }
        tables.push_back(std::move(adapter));
    }
    return tables;
}

/// As TOML writes a string: what it has no letters for is escaped.
std::string quoted(const std::string& text)
{
    std::string result = "\"";
    for (const char c : text)
        if (c == '"' || c == '\\')
            result += fmt::format("\\{}", c);
        else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            result += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        else
            result += c;
    return result + "\"";
}

} // namespace

std::string to_table(const configuration& values)
{
    struct row {
        std::string key;
        std::string value;
        std::string origin;
    };
    std::vector<row> rows;
    std::size_t adapter = 0;
    for (const shown_table& table : shown(values)) {
        std::string name = table.name;
        if (table.one_of_many)
            name = fmt::format("{}[{}]", table.name, adapter++);
        for (const shown_value& v : table.values)
            rows.push_back({fmt::format("{}{}{}", name, name.empty() ? "" : ".", v.key),
                            v.unit.empty() ? v.value : fmt::format("{} {}", v.value, v.unit), v.origin});
    }
    std::size_t key_width = 0;
    std::size_t value_width = 0;
    for (const row& r : rows) {
        key_width = std::max(key_width, r.key.size());
        value_width = std::max(value_width, std::min<std::size_t>(r.value.size(), 40));
    }
    std::string text;
    for (const row& r : rows)
        text += fmt::format("{:<{}}  {:<{}}  {}\n", r.key, key_width, r.value, value_width, r.origin);
    return text;
}

std::string to_toml(const configuration& values)
{
    std::string text;
    for (const shown_table& table : shown(values)) {
        if (!table.name.empty())
            text += table.one_of_many ? fmt::format("\n[[{}]]\n", table.name) : fmt::format("\n[{}]\n", table.name);
        const bool names_from_outside = table.name == "eviction.quotas";
        for (const shown_value& v : table.values)
            text += fmt::format("{} = {} # {}\n", names_from_outside ? quoted(v.key) : v.key,
                                v.quoted ? quoted(v.value) : v.value, v.origin);
    }
    return text;
}

} // namespace terrace
