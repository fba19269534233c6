#pragma once

#include "flow/flow_context.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <terrace/store_policy.hpp>

namespace terrace {

/// The store policy as the flows ask it. A policy that throws, or answers another question, is passed over and counted.
///
/// Threads: the engine's executor.
class store_decisions {
public:
    store_decisions(flow_context& context, std::shared_ptr<store_policy> policy)
        : context_{context},
          policy_{std::move(policy)}
    {
    }

    /// One bitmap for each adapter; nothing if the policy failed.
    [[nodiscard]] std::optional<std::vector<bitmap>> targets(const store_candidates& candidates);
    [[nodiscard]] bool reconsiders() const noexcept { return policy_->reconsiders(); }
    [[nodiscard]] bitmap l1_deletions(std::span<const object_key> keys, const bitmap& stored);
    /// The index of another adapter.
    [[nodiscard]] std::optional<std::size_t> demotion(std::size_t from, std::size_t adapters);

private:
    void note_error(std::string_view reason) noexcept;

    flow_context& context_;
    const std::shared_ptr<store_policy> policy_;
    log_limit errors_;
};

} // namespace terrace
