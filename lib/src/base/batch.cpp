#include "base/batch.hpp"

#include <bit>
#include <fmt/format.h>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <terrace/prefetch.hpp>

namespace terrace::detail {
namespace {

/// The positions of the first key that stands twice.
std::optional<std::pair<std::size_t, std::size_t>> find_twice(std::span<const object_key> keys)
{
    constexpr std::size_t few = 8; // below this, comparing all pairs is cheaper than a table
    if (keys.size() <= few) {
        for (std::size_t i = 1; i < keys.size(); ++i)
            for (std::size_t j = 0; j < i; ++j)
                if (keys[i] == keys[j])
                    return {{j, i}};
        return {};
    }
    // Open addressing in a table that the thread keeps: positions plus one, 0 is empty.
    thread_local std::vector<std::uint32_t> table;
    const std::size_t mask = std::bit_ceil(2 * keys.size()) - 1;
    table.assign(mask + 1, 0);
    for (std::size_t i = 0; i < keys.size(); ++i) {
        std::size_t at = keys[i].hash_code() & mask;
        for (; table[at] != 0; at = (at + 1) & mask)
            if (keys[table[at] - 1] == keys[i])
                return {{table[at] - 1, i}};
        table[at] = static_cast<std::uint32_t>(i + 1);
    }
    return {};
}

} // namespace

void check_keys(std::string_view operation, std::span<const object_key> keys)
{
    for (std::size_t i = 0; i < keys.size(); ++i)
        if (keys[i].empty())
            throw std::invalid_argument(
                fmt::format("{}: key {} of {} is empty; expected a key with a chunk hash", operation, i, keys.size()));
    if (auto twice = find_twice(keys))
        throw std::invalid_argument(fmt::format("{}: key {} stands twice, at {} and {}; expected distinct keys",
                                                operation, keys[twice->first].to_string(), twice->first,
                                                twice->second));
}

void check_layout(std::string_view operation, const memory_layout& layout)
{
    if (layout.size_bytes() == 0)
        throw std::invalid_argument(fmt::format("{}: the layout has 0 bytes; expected at least 1", operation));
}

void check_readers(std::string_view operation, std::uint32_t readers)
{
    if (readers < 1 || readers > prefetch_request::max_readers)
        throw std::invalid_argument(
            fmt::format("{}: {} readers; expected 1 to {}", operation, readers, prefetch_request::max_readers));
}

} // namespace terrace::detail
