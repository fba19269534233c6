#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <terrace/bitmap.hpp>
#include <terrace/object_key.hpp>

namespace terrace {

/// Decides which committed objects go to which adapters, and which leave L1 once they are there. No I/O, no clock.
///
/// Threads: called on the engine's executor. Errors: a policy does not throw.
class store_policy {
public:
    virtual ~store_policy() = default;

    [[nodiscard]] virtual std::string_view name() const noexcept = 0;

    /// One bitmap of keys.size() for each of the `adapters` adapters, in order of index: which keys it shall store.
    [[nodiscard]] virtual std::vector<bitmap> select_targets(std::span<const object_key> keys,
                                                             std::size_t adapters) const = 0;

    /// Which keys leave L1, now that every adapter that was to store them has. `stored` is set where at least one was
    /// asked and all that were asked succeeded.
    [[nodiscard]] virtual bitmap select_l1_deletions(std::span<const object_key> keys, const bitmap& stored) const = 0;

    /// A policy by its name. Throws std::invalid_argument that lists the names if there is none of this name.
    ///
    ///     default  every key to every adapter; all stay in L1
    ///     skip_l1  every key to every adapter; what is stored leaves L1
    [[nodiscard]] static std::shared_ptr<const store_policy> make(std::string_view name);
};

} // namespace terrace
