#include "flow/prefetch_run.hpp"

namespace terrace {
namespace {

std::vector<object_key> flattened(const std::vector<key_group>& groups)
{
    std::vector<object_key> keys;
    for (const key_group& group : groups)
        keys.insert(keys.end(), group.keys().begin(), group.keys().end());
    return keys;
}

} // namespace

request_keys::request_keys(const std::vector<key_group>& groups, trim_rule rule)
    : keys{flattened(groups)}, shape{groups, rule}
{
    std::size_t end = 0;
    for (const key_group& group : groups)
        layouts.push_back({end += group.keys().size(), group.layout()});
}

prefetch_run::prefetch_run(const prefetch_request& request, clock::time_point now)
    : what{std::make_shared<const request_keys>(request.groups(), request.trim())}, readers{request.readers()},
      lock{request.lock()}, priority{request.priority()}, deadline{request.deadline()}, started{now},
      claims{pins, what->keys.size()}
{
}

} // namespace terrace
