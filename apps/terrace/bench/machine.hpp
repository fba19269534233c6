#pragma once

#include <string>
#include <utility>
#include <vector>

namespace terrace::bench {

/// Where and when it was measured: name and value, in an order for readers. What cannot be found out is "unknown".
[[nodiscard]] std::vector<std::pair<std::string, std::string>> describe_machine();

} // namespace terrace::bench
