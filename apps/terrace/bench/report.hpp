#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/row.hpp"

namespace terrace::bench {

/// Name and value, as describe_machine() gives them.
using machine_facts = std::vector<std::pair<std::string, std::string>>;

/// The rows for readers, those of each workload under a heading: lines that end in '\n'.
[[nodiscard]] std::string to_table(std::span<const row> rows);

/// All rows for programs; docs/bench.md describes the keys.
[[nodiscard]] nlohmann::ordered_json to_json(const machine_facts& machine, std::span<const row> rows);

/// All rows as one page that needs no other file: plots and the table.
[[nodiscard]] std::string to_html(const machine_facts& machine, std::span<const row> rows);

} // namespace terrace::bench
