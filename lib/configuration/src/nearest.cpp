#include "nearest.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>
#include <utility>

namespace terrace {
namespace {

/// Levenshtein's distance, row by row.
std::size_t distance(std::string_view from, std::string_view to)
{
    std::vector<std::size_t> row(to.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < from.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i + 1);
        for (std::size_t j = 0; j < to.size(); ++j) {
            const std::size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
        }
    }
    return row.back();
}

} // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates)
{
    if (word.size() > 100)
        return {};
    std::string best;
    std::size_t fewest = std::max<std::size_t>(3, word.size() / 3);
    for (const std::string& candidate : candidates)
        if (const std::size_t changes = distance(word, candidate);
            changes < fewest || (changes == fewest && best.empty())) {
            fewest = changes;
            best = candidate;
        }
    return best;
}

std::string suggestion(std::string_view word, const std::vector<std::string>& candidates)
{
    const std::string near = nearest(word, candidates);
    return near.empty() ? std::string{} : fmt::format("; did you mean {}?", near);
}

} // namespace terrace
