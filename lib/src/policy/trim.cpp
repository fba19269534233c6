#include "policy/trim.hpp"

#include "base/assert.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>

namespace terrace {

request_shape::request_shape(std::size_t keys, trim_rule rule)
    : parts_{part{0, 1, full_attention}},
      keys_{keys},
      chunks_{keys},
      rule_{rule}
{
}

request_shape::request_shape(std::span<const key_group> groups, trim_rule rule) : rule_{rule}
{
    if (groups.empty())
        throw std::invalid_argument("a request of 0 key groups; expected at least 1");
    for (std::size_t g = 0; g < groups.size(); ++g) {
        const std::size_t keys = groups[g].keys().size();
        const std::size_t k = groups[g].keys_per_chunk();
        const auto window = groups[g].window_chunks();
        if (k == 0)
            throw std::invalid_argument(fmt::format("key group {}: 0 keys per chunk; expected at least 1", g));
        if (keys % k != 0)
            throw std::invalid_argument(
                fmt::format("key group {}: {} keys; expected a multiple of {}, its keys per chunk", g, keys, k));
        if (g == 0)
            chunks_ = keys / k;
        else if (keys / k != chunks_)
            throw std::invalid_argument(
                fmt::format("key group {}: {} chunks; expected {}, as key group 0 has", g, keys / k, chunks_));
        if (window == 0U)
            throw std::invalid_argument(
                fmt::format("key group {}: a window of 0 chunks; expected at least 1, or none for full attention", g));
        if (window && rule != trim_rule::prefix)
            throw std::invalid_argument(fmt::format("key group {}: a window of {} chunks under trim rule {}; expected "
                                                    "the rule prefix, or full attention",
                                                    g, *window,
                                                    rule == trim_rule::sparse ? "sparse" : "segmented_prefix"));
        parts_.push_back({keys_, k, window.value_or(full_attention)});
        keys_ += keys;
    }
}

std::size_t request_shape::group_of(std::size_t key) const noexcept
{
    TERRACE_ASSERT(key < keys_);
    std::size_t group = 0;
    while (key >= first_key(group + 1))
        ++group;
    return group;
}

bool request_shape::whole(const part& p, std::size_t chunk, const bitmap& found)
{
    const std::size_t first = p.first_key + chunk * p.keys_per_chunk;
    for (std::size_t i = first; i < first + p.keys_per_chunk; ++i)
        if (!found.test(i))
            return false;
    return true;
}

std::size_t request_shape::hits(const bitmap& found) const
{
    TERRACE_ASSERT(found.size() == keys_);
    if (plain())
        return found.leading() / parts_[0].keys_per_chunk;
    bitmap usable_length{chunks_ + 1, true}; // of a prefix, as far as the groups have been looked at
    for (const part& p : parts_) {
        std::size_t run = 0; // whole chunks before this length, without a gap
        for (std::size_t length = 1; length <= chunks_; ++length) {
            run = whole(p, length - 1, found) ? run + 1 : 0;
            if (run < std::min(p.window, length))
                usable_length.set(length, false);
        }
    }
    std::size_t longest = chunks_;
    while (!usable_length.test(longest)) // ends: a prefix of 0 chunks needs nothing
        --longest;
    return longest;
}

bitmap request_shape::scattered_chunks(const bitmap& found) const
{
    bitmap chunks;
    if (plain() && parts_[0].keys_per_chunk == 1) {
        chunks = found;
    } else {
        chunks = bitmap{chunks_};
        for (std::size_t chunk = 0; chunk < chunks_; ++chunk)
            chunks.set(chunk, std::ranges::all_of(parts_, [&](const part& p) { return whole(p, chunk, found); }));
    }
    if (rule_ == trim_rule::segmented_prefix && chunks.leading() == 0)
        chunks.keep_first(0);
    return chunks;
}

bitmap request_shape::usable(bitmap found) const
{
    TERRACE_ASSERT(found.size() == keys_);
    const auto set_chunks = [](bitmap& keys, const part& p, std::size_t first, std::size_t last) {
        for (std::size_t i = first * p.keys_per_chunk; i < last * p.keys_per_chunk; ++i)
            keys.set(p.first_key + i);
    };
    if (rule_ == trim_rule::prefix) {
        const std::size_t length = hits(found);
        if (plain()) {
            found.keep_first(length * parts_[0].keys_per_chunk);
            return found;
        }
        bitmap keys{keys_};
        for (const part& p : parts_)
            set_chunks(keys, p, length - std::min(length, p.window), length);
        return keys;
    }
    const bitmap chunks = scattered_chunks(found);
    if (plain() && parts_[0].keys_per_chunk == 1)
        return chunks;
    bitmap keys{keys_};
    for (const part& p : parts_)
        chunks.for_each_set([&](std::size_t chunk) { set_chunks(keys, p, chunk, chunk + 1); });
    return keys;
}

std::size_t request_shape::usable_chunks(const bitmap& found) const
{
    return rule_ == trim_rule::prefix ? hits(found) : scattered_chunks(found).count();
}

} // namespace terrace
