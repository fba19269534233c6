#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <terrace/configuration.hpp>

namespace terrace {

/// One value of a file, as a setting reads it.
struct file_value {
    std::string key; ///< "l1.capacity"; in an adapter's table "load_timeout"
    std::string text;
    std::uint32_t line = 0;
    std::string problem; ///< why it is no value, with the key; empty: it is one
};

/// One adapter of a file.
struct file_adapter_table {
    std::uint32_t line = 0;
    std::vector<file_value> values;
};

/// What a file says, whether or not it means anything.
struct file_contents {
    std::vector<file_value> values; ///< in order of line
    bool has_adapters = false;
    std::vector<file_adapter_table> adapters;
    std::vector<std::string> problems; ///< of the file as a whole, with name and line
};

[[nodiscard]] file_contents parse_toml(const configuration_file& file);

} // namespace terrace
