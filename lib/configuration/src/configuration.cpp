#include "nearest.hpp"
#include "toml_file.hpp"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <terrace/adapter_spec.hpp>
#include <terrace/configuration.hpp>
#include <terrace/quota_table.hpp>
#include <terrace/setting.hpp>
#include <terrace/text_options.hpp>

namespace terrace {
namespace {

constexpr std::string_view adapters_key = "adapters";
constexpr std::string_view quotas_prefix = "eviction.quotas.";

std::string joined(const std::vector<std::string>& problems)
{
    std::string lines;
    for (const std::string& problem : problems)
        lines += fmt::format("{}{}", lines.empty() ? "" : "\n", problem);
    return lines;
}

template <class Setting>
const Setting* find_setting(std::span<const Setting> all, std::string_view key)
{
    const auto found = std::ranges::find(all, key, &Setting::key);
    return found == all.end() ? nullptr : &*found;
}

template <class Setting>
std::vector<std::string> keys_of(std::span<const Setting> all)
{
    std::vector<std::string> keys;
    for (const auto& s : all)
        keys.push_back(s.key);
    return keys;
}

/// A key or a value may hold anything; a problem is one line.
std::string one_line(std::string_view text)
{
    std::string line;
    for (const char c : text)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            line += fmt::format("\\x{:02x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        else
            line += c;
    return line;
}

/// Words between spaces.
std::vector<std::string> words_of(std::string_view text)
{
    std::vector<std::string> words;
    while (!text.empty()) {
        const auto end = std::min(text.find(' '), text.size());
        if (end != 0)
            words.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return words;
}

/// What the engine says of a member in its own words: in those of settings.
std::string in_keys(std::string text)
{
    for (const setting& s : settings()) {
        if (s.member == s.key || s.member.find('_') == std::string::npos)
            continue;
        for (auto at = text.find(s.member); at != std::string::npos; at = text.find(s.member, at + s.key.size()))
            text.replace(at, s.member.size(), s.key);
    }
    return text;
}

/// Puts the sources on top of each other.
class reader {
public:
    reader(const configuration_sources& sources, configuration defaults)
        : sources_{sources},
          values_{std::move(defaults)}
    {
    }

    configuration read()
    {
        if (sources_.file)
            read_file(*sources_.file);
        read_environment();
        read_flags();
        for (std::size_t i = 0; i < values_.adapters.size(); ++i)
            check_spec(i);
        if (problems_.empty())
            check_whole();
        if (!problems_.empty())
            throw configuration_error{std::move(problems_)};
        return std::move(values_);
    }

private:
    // ---- one value ----

    void set(const std::string& where, std::string_view key, std::string_view text)
    {
        if (key.starts_with(quotas_prefix))
            return set_quota(where, key.substr(quotas_prefix.size()), text);
        const setting* found = find_setting(settings(), key);
        if (found == nullptr) {
            auto known = keys_of(settings());
            known.emplace_back(adapters_key);
            return complain("{}: {}: unknown key{}", where, key, suggestion(key, known));
        }
        apply(*found, values_, where, found->key, text);
    }

    void set(const std::string& where, std::size_t adapter, std::string_view key, std::string_view text)
    {
        const std::string name = fmt::format("{}[{}].{}", adapters_key, adapter, key);
        const adapter_setting* found = find_setting(adapter_settings(), key);
        if (found == nullptr)
            return complain("{}: {}: unknown key{}", where, name, suggestion(key, keys_of(adapter_settings())));
        apply(*found, values_.adapters[adapter], where, name, text);
    }

    template <class Setting, class Target>
    void apply(const Setting& s, Target& target, const std::string& where, const std::string& name,
               std::string_view text)
    {
        try {
            s.set(target, text);
            values_.origins[name] = where;
        } catch (const std::invalid_argument& e) {
            complain("{}: {}: {}", where, name, e.what());
        }
    }

    void set_quota(const std::string& where, std::string_view salt, std::string_view text)
    {
        const std::string name = fmt::format("{}{}", quotas_prefix, salt);
        try {
            own_quotas().set(salt, parse_bytes(text));
            values_.origins[name] = where;
        } catch (const std::invalid_argument& e) {
            complain("{}: {}: {}", where, name, e.what());
        }
    }

    /// That of the defaults may be in force somewhere: it stays as it is.
    quota_table& own_quotas()
    {
        if (own_quotas_ == nullptr) {
            auto& quotas = values_.engine.eviction.quotas;
            own_quotas_ = std::make_shared<quota_table>();
            for (const auto& [salt, bytes] : quotas != nullptr ? quotas->list() : std::vector<quota_table::quota>{})
                own_quotas_->set(salt, bytes);
            quotas = own_quotas_;
        }
        return *own_quotas_;
    }

    static bool is_known(std::string_view key)
    {
        return key.starts_with(quotas_prefix) || find_setting(settings(), key) != nullptr;
    }

    // ---- the sources ----

    void read_file(const configuration_file& file)
    {
        file_contents contents = parse_toml(file);
        std::ranges::transform(contents.problems, std::back_inserter(problems_), one_line);
        const auto place = [&](std::uint32_t line) { return fmt::format("{}:{}", file.name, line); };
        for (const file_value& value : contents.values)
            if (value.problem.empty() || !is_known(value.key))
                set(place(value.line), value.key, value.text);
            else
                complain("{}: {}", place(value.line), value.problem);
        if (contents.has_adapters)
            forget_adapters();
        for (const file_adapter_table& table : contents.adapters) {
            const std::size_t index = values_.adapters.size();
            values_.adapters.emplace_back();
            places_.push_back(place(table.line));
            for (const file_value& value : table.values)
                if (value.problem.empty() || find_setting(adapter_settings(), value.key) == nullptr)
                    set(place(value.line), index, value.key, value.text);
                else
                    complain("{}: {}[{}].{}", place(value.line), adapters_key, index, value.problem);
        }
    }

    void read_environment()
    {
        std::vector<std::string> known;
        for (const setting& s : settings()) {
            known.push_back(environment_variable(s.key));
            if (const auto found = sources_.environment.find(known.back()); found != sources_.environment.end())
                set(found->first, s.key, found->second);
        }
        known.push_back(environment_variable(adapters_key));
        if (const auto found = sources_.environment.find(known.back()); found != sources_.environment.end()) {
            forget_adapters();
            for (const std::string& spec : words_of(found->second))
                add_adapter(found->first, spec);
        }
        for (const auto& [name, value] : sources_.environment)
            if (std::ranges::find(known, name) == known.end() && looks_like_ours(name))
                complain("{}: unknown variable{}", name, suggestion(name, known));
    }

    /// Whether it begins like the variables of a section: others of this prefix may be somebody else's.
    static bool looks_like_ours(std::string_view name)
    {
        return std::ranges::any_of(settings(), [&](const setting& s) {
            const auto dot = s.key.find('.');
            return dot != std::string::npos && name.starts_with(environment_variable(s.key.substr(0, dot + 1)));
        });
    }

    void read_flags()
    {
        bool first = true;
        for (const configuration_flag& flag : sources_.flags) {
            if (flag.key != adapters_key) {
                set(flag.flag, flag.key, flag.value);
                continue;
            }
            if (std::exchange(first, false))
                forget_adapters();
            add_adapter(flag.flag, flag.value);
        }
    }

    // ---- adapters ----

    void forget_adapters()
    {
        values_.adapters.clear();
        places_.clear();
        std::erase_if(values_.origins, [](const auto& origin) { return origin.first.starts_with("adapters["); });
    }

    void add_adapter(const std::string& where, const std::string& spec)
    {
        values_.adapters.emplace_back();
        places_.push_back(where);
        set(where, values_.adapters.size() - 1, "spec", spec);
    }

    [[nodiscard]] std::string place_of(std::size_t adapter) const
    {
        return adapter < places_.size() ? places_[adapter] : std::string{"default"};
    }

    void check_spec(std::size_t adapter)
    {
        const std::string name = fmt::format("{}[{}].spec", adapters_key, adapter);
        const std::string& spec = values_.adapters[adapter].spec;
        if (spec.empty())
            return complain("{}: {}: missing; expected one such as \"file:/var/cache/terrace\"", place_of(adapter),
                            name);
        try {
            if (sources_.check_adapter)
                sources_.check_adapter(spec);
            else
                (void)adapter_spec::parse(spec);
        } catch (const std::invalid_argument& e) {
            complain("{}: {}: {}", place_of(adapter), name, e.what());
        }
    }

    // ---- the whole ----

    /// What concerns more than one setting, the engine knows.
    void check_whole()
    {
        try {
            check(values_.engine);
        } catch (const std::invalid_argument& e) {
            const std::string what = in_keys(e.what());
            complain("{}: {}", origin_of(what), what);
        }
        for (std::size_t i = 0; i < values_.adapters.size(); ++i)
            try {
                check(values_.adapters[i].options);
            } catch (const std::invalid_argument& e) {
                std::string what = e.what();
                if (what.starts_with("adapter_options."))
                    what.erase(0, what.find('.') + 1);
                complain("{}: {}[{}]: {}", place_of(i), adapters_key, i, what);
            }
    }

    /// Of the first setting that a message names and that is no default.
    [[nodiscard]] std::string origin_of(std::string_view what) const
    {
        std::size_t first = what.npos;
        std::string origin = "default";
        for (const auto& [key, where] : values_.origins)
            if (const auto at = what.find(key); at < first) {
                first = at;
                origin = where;
            }
        return origin;
    }

    template <class... Arguments>
    void complain(fmt::format_string<Arguments...> what, Arguments&&... arguments)
    {
        problems_.push_back(one_line(fmt::format(what, std::forward<Arguments>(arguments)...)));
    }

    const configuration_sources& sources_;
    configuration values_;
    std::shared_ptr<quota_table> own_quotas_;
    std::vector<std::string> places_; // of the adapters
    std::vector<std::string> problems_;
};

} // namespace

log_function configuration::log() const
{
    return log_level ? stderr_log(*log_level, log_format) : log_function{};
}

configuration_file configuration_file::read(const std::filesystem::path& path)
{
    const auto fail = [&](int error) {
        throw std::system_error(error, std::system_category(),
                                fmt::format("cannot read the configuration {}", path.string()));
    };
    if (std::filesystem::is_directory(path))
        fail(EISDIR);
    errno = 0;
    std::ifstream file{path, std::ios::binary};
    if (!file.is_open())
        fail(errno);
    std::string text{std::istreambuf_iterator<char>{file}, {}};
    if (file.bad())
        fail(EIO);
    return {path.string(), std::move(text)};
}

configuration_error::configuration_error(std::vector<std::string> problems)
    : std::invalid_argument{joined(problems)},
      problems_{std::move(problems)}
{
}

configuration read_configuration(const configuration_sources& sources, configuration defaults)
{
    return reader{sources, std::move(defaults)}.read();
}

std::map<std::string, std::string> terrace_environment()
{
    std::map<std::string, std::string> variables;
    for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
        const std::string_view variable{*at};
        const auto equals = variable.find('=');
        if (variable.starts_with("TERRACE_") && equals != variable.npos)
            variables.emplace(variable.substr(0, equals), variable.substr(equals + 1));
    }
    return variables;
}

} // namespace terrace
