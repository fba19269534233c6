#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace terrace::replay {

/// A whole number from `least` to `most`. Throws std::invalid_argument that names the option, the text and the range.
[[nodiscard]] std::uint64_t parse_count(std::string_view option, std::string_view text, std::uint64_t least = 1,
                                        std::uint64_t most = std::numeric_limits<std::uint64_t>::max());

/// A finite number > 0, as "2", "0.5" or "1e4". Throws std::invalid_argument that names the option and the text.
[[nodiscard]] double parse_positive(std::string_view option, std::string_view text);

/// "1,234,567".
[[nodiscard]] std::string grouped(std::uint64_t n);

} // namespace terrace::replay
