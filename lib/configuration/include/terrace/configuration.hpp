#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/config.hpp>
#include <terrace/stderr_log.hpp>

namespace terrace {

/// An adapter as a configuration names it.
struct configured_adapter {
    std::string spec;        ///< "file:/var/cache/terrace?capacity=20GiB"; see adapter_spec
    adapter_options options; ///< how the engine treats it
};

/// What a program starts an engine with. docs/configuration.md has all that can be set.
struct configuration {
    config engine;                            ///< but for `log`: see log()
    std::vector<configured_adapter> adapters; ///< in order of their index
    /// As it was written: a store_policy does not know its options. Empty: engine.store is as it was.
    std::string store_policy;
    std::optional<terrace::log_level> log_level = terrace::log_level::warning; ///< none: nothing is logged
    terrace::log_format log_format = terrace::log_format::text;

    /// Where each value comes from that is no default, by key: "terrace.toml:12", "TERRACE_L1_CAPACITY", "--l1". Those
    /// of adapters are "adapters[0].spec", and so on.
    std::map<std::string, std::string> origins;

    /// A function for config::log that does as log_level and log_format say; empty if there is no level.
    [[nodiscard]] TERRACE_API log_function log() const;
};

/// The text of a TOML file.
struct configuration_file {
    std::string name; ///< for messages
    std::string text;

    /// Throws std::system_error that names the file if it cannot be read.
    [[nodiscard]] TERRACE_API static configuration_file read(const std::filesystem::path& path);
};

/// A value from the command line.
struct configuration_flag {
    std::string flag;  ///< for messages: "--l1"
    std::string key;   ///< "l1.capacity"; "adapters" for the spec of an adapter
    std::string value; ///< as it is written in a file, without quotes
};

/// Where settings come from: a flag goes before the environment, that before the file, and that before the default.
struct configuration_sources {
    std::optional<configuration_file> file;
    /// Values by variable, such as TERRACE_L1_CAPACITY. TERRACE_ADAPTERS holds specs with spaces between them. A
    /// variable that begins like one of a section (TERRACE_L1_) and is none is an error; all others are left alone.
    std::map<std::string, std::string> environment;
    /// Of one key the last counts; the adapters of all flags together are in place of all others.
    std::vector<configuration_flag> flags;
    /// Throws std::invalid_argument for a spec that names no adapter, such as terrace::check_adapter. Empty: only the
    /// form of specs is checked.
    std::function<void(std::string_view)> check_adapter;
};

/// What is wrong with a configuration: all of it.
class TERRACE_API configuration_error : public std::invalid_argument {
public:
    /// problems  at least one
    explicit configuration_error(std::vector<std::string> problems);

    /// Each names where it stands, the key, the value and what was expected.
    [[nodiscard]] const std::vector<std::string>& problems() const noexcept { return problems_; }

private:
    std::vector<std::string> problems_;
};

/// Reads the sources over `defaults`, whose quota_table stays as it is: quotas that are set are in a copy of it. Throws
/// configuration_error.
[[nodiscard]] TERRACE_API configuration read_configuration(const configuration_sources& sources,
                                                           configuration defaults = {});

/// The variables of this process that begin with TERRACE_. Not while another thread changes them.
[[nodiscard]] TERRACE_API std::map<std::string, std::string> terrace_environment();

/// Each setting with its value, its unit and where it comes from: a table for people.
[[nodiscard]] TERRACE_API std::string to_table(const configuration& values);
/// The same as a TOML file that gives this configuration again.
[[nodiscard]] TERRACE_API std::string to_toml(const configuration& values);

} // namespace terrace
