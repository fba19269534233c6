#pragma once

#include "flow/flow_context.hpp"

#include <memory>
#include <vector>

#include <terrace/bitmap.hpp>
#include <terrace/object_key.hpp>

namespace terrace {

using key_list = std::shared_ptr<const std::vector<object_key>>; // of one request

/// The locks that one request holds in one adapter. What it holds at its end, it unlocks: in the background, since a
/// destructor cannot wait, in a task that close() waits for.
///
/// Threads: keep_only() on the executor; destruction anywhere.
class l2_locks {
public:
    l2_locks() noexcept = default;
    /// held  by position in `keys`; the adapter has just locked them for this request
    l2_locks(flow_context& context, std::shared_ptr<adapter_slot> slot, key_list keys, bitmap held);
    l2_locks(l2_locks&& from) noexcept { swap(from); }
    l2_locks& operator=(l2_locks from) noexcept
    {
        swap(from);
        return *this;
    }
    ~l2_locks();
    void swap(l2_locks& other) noexcept;

    [[nodiscard]] const bitmap& held() const noexcept { return held_; }
    [[nodiscard]] const std::shared_ptr<adapter_slot>& slot() const noexcept { return slot_; }

    /// Unlocks what is not in `wanted`.
    void keep_only(const bitmap& wanted);
    /// Moves the locks of these keys into a guard of their own.
    [[nodiscard]] l2_locks take(const bitmap& which);
    /// Unlocks what it holds, and waits until that is done.
    asio::awaitable<void> give_back(task_scope::task& me);

private:
    void unlock(const bitmap& which);

    std::shared_ptr<void> owner_; // of the context
    flow_context* context_ = nullptr;
    std::shared_ptr<adapter_slot> slot_;
    key_list keys_;
    bitmap held_;
};

} // namespace terrace
