#include <terrace/eviction_policy.hpp>

#include "policy/eviction/policies.hpp"

#include <fmt/format.h>
#include <stdexcept>

namespace terrace {

std::unique_ptr<eviction_policy> eviction_policy::make(std::string_view name, std::shared_ptr<const quota_table> quotas)
{
    if (name == "lru")
        return make_lru();
    if (name == "s3fifo")
        return make_s3fifo();
    if (name == "isolated_lru")
        return make_isolated_lru(std::move(quotas));
    if (name == "none")
        return make_no_eviction();
    throw std::invalid_argument(
        fmt::format("eviction policy {:?} is unknown; expected lru, s3fifo, isolated_lru or none", name));
}

} // namespace terrace
