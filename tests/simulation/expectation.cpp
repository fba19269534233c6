#include "simulation/expectation.hpp"

#include <algorithm>

namespace terrace::simulation {

expectation::expectation(const prefetch_request& request)
    : trim_{request.trim()},
      readers_{request.readers()},
      lock_{request.lock()},
      deadline_{request.deadline()}
{
    for (const key_group& g : request.groups()) {
        chunks_ = g.keys().size() / g.keys_per_chunk();
        groups_.push_back({keys_.size(), g.keys_per_chunk(), g.window_chunks().value_or(chunks_)});
        keys_.insert(keys_.end(), g.keys().begin(), g.keys().end());
        layouts_.insert(layouts_.end(), g.keys().size(), g.layout());
    }
}

bitmap expectation::prefix(std::size_t chunks) const
{
    bitmap needed{keys_.size()};
    for (const group& g : groups_)
        for (std::size_t c = chunks - std::min(chunks, g.window); c < chunks; ++c)
            for (std::size_t i = 0; i < g.keys_per_chunk; ++i)
                needed.set(g.first_key + c * g.keys_per_chunk + i);
    return needed;
}

bitmap expectation::chunk(std::size_t which) const
{
    bitmap needed{keys_.size()};
    for (const group& g : groups_)
        for (std::size_t i = 0; i < g.keys_per_chunk; ++i)
            needed.set(g.first_key + which * g.keys_per_chunk + i);
    return needed;
}

std::size_t expectation::hits(const bitmap& found) const
{
    std::size_t chunks = chunks_;
    while ((prefix(chunks) - found).any())
        --chunks;
    return chunks;
}

bitmap expectation::usable(const bitmap& found) const
{
    if (trim_ == trim_rule::prefix)
        return prefix(hits(found));
    bitmap keys{keys_.size()};
    for (std::size_t c = 0; c < chunks_; ++c)
        if (const bitmap whole = chunk(c); (whole - found).none())
            keys |= whole;
        else if (c == 0 && trim_ == trim_rule::segmented_prefix)
            break;
    return keys;
}

} // namespace terrace::simulation
