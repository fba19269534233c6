#include "flow/store_decisions.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace terrace {

std::optional<std::vector<bitmap>> store_decisions::targets(const store_candidates& candidates)
{
    try {
        auto targets = policy_->select_targets(candidates);
        const auto fits = [&](const bitmap& which) { return which.size() == candidates.keys.size(); };
        if (targets.size() == candidates.adapters && std::ranges::all_of(targets, fits))
            return targets;
        note_error("select_targets() answered another question");
    } catch (...) {
        note_error(reason_of(std::current_exception()));
    }
    return std::nullopt;
}

bitmap store_decisions::l1_deletions(std::span<const object_key> keys, const bitmap& stored)
{
    try {
        bitmap deletions = policy_->select_l1_deletions(keys, stored);
        if (deletions.size() == keys.size())
            return deletions;
        note_error("select_l1_deletions() answered another question");
    } catch (...) {
        note_error(reason_of(std::current_exception()));
    }
    return bitmap{keys.size()};
}

std::optional<std::size_t> store_decisions::demotion(std::size_t from, std::size_t adapters)
{
    try {
        const auto onto = policy_->select_demotion(from, adapters);
        return onto && *onto < adapters && *onto != from ? onto : std::nullopt;
    } catch (...) {
        note_error(reason_of(std::current_exception()));
    }
    return std::nullopt;
}

void store_decisions::note_error(std::string_view reason) noexcept
{
    ++context_.counters.policy_errors;
    const std::uint64_t times = context_.log.wanted() ? errors_.count(context_.clock->now()) : 0;
    if (times == 0)
        return;
    context_.log.write(log_events::store_policy_failed, [&] {
        return log_text{fmt::format("the store policy {:?} failed, {} times since this was last said: {}",
                                    policy_->name(), times, reason),
                        {{"policy", std::string{policy_->name()}}, {"reason", std::string{reason}}, {"times", times}}};
    });
}

} // namespace terrace
