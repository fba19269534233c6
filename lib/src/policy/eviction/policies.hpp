#pragma once

#include <boost/intrusive/list.hpp>
#include <memory>

#include <terrace/eviction_policy.hpp>
#include <terrace/quota_table.hpp>

namespace terrace {

/// Objects in the order in which a policy would have them go.
using eviction_queue = boost::intrusive::list<
    evictable,
    boost::intrusive::member_hook<evictable, boost::intrusive::list_member_hook<>, &evictable::eviction_hook>,
    boost::intrusive::constant_time_size<false>>;

// What eviction_policy::make() knows by name.
[[nodiscard]] std::unique_ptr<eviction_policy> make_lru();
[[nodiscard]] std::unique_ptr<eviction_policy> make_s3fifo();
/// quotas  null: there are none
[[nodiscard]] std::unique_ptr<eviction_policy> make_isolated_lru(std::shared_ptr<const quota_table> quotas);
[[nodiscard]] std::unique_ptr<eviction_policy> make_no_eviction();

} // namespace terrace
