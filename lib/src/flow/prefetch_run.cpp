#include "flow/prefetch_run.hpp"

namespace terrace {
request_keys::request_keys(std::vector<key_group> groups, trim_rule rule) : shape{groups, rule}
{
    std::size_t end = 0;
    for (const key_group& group : groups)
        layouts.push_back({end += group.keys().size(), group.layout()});
    keys = std::move(groups.front()).keys(); // of one group, as most requests are, no key is copied
    keys.reserve(end);
    for (std::size_t g = 1; g < groups.size(); ++g)
        keys.insert(keys.end(), groups[g].keys().begin(), groups[g].keys().end());
}

prefetch_run::prefetch_run(prefetch_request request, clock::time_point now)
    : what{std::make_shared<const request_keys>(std::move(request).groups(), request.trim())},
      readers{request.readers()},
      lock{request.lock()},
      priority{request.priority()},
      deadline{request.deadline()},
      started{now},
      claims{pins, what->keys.size()}
{
}

} // namespace terrace
