#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace terrace {

/// The candidate that the word was probably meant to be, by the fewest letters to change, add or leave out; empty if
/// none is near.
[[nodiscard]] std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// "; did you mean X?", or nothing.
[[nodiscard]] std::string suggestion(std::string_view word, const std::vector<std::string>& candidates);

} // namespace terrace
