#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "replay/replayer.hpp"

namespace terrace::replay {

/// The outcome for programs; docs/replay.md describes the keys.
[[nodiscard]] nlohmann::ordered_json to_json(const replay_outcome& outcome);

/// The outcome for readers: lines that end in '\n'.
///
/// tokens_per_second  of prefill, which the times to first token were reckoned with
[[nodiscard]] std::string to_table(const replay_outcome& outcome, double tokens_per_second);

} // namespace terrace::replay
