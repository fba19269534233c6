#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/bitmap.hpp>
#include <terrace/object_key.hpp>

namespace terrace {

/// Which adapter loads which key.
class load_plan {
public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    load_plan() = default;
    explicit load_plan(std::size_t keys) : source_(keys, none) {}

    [[nodiscard]] std::size_t size() const noexcept { return source_.size(); }
    /// The index of the adapter that loads key i, or none.
    [[nodiscard]] std::uint32_t source(std::size_t i) const { return source_.at(i); }
    void set_source(std::size_t i, std::uint32_t adapter) { source_.at(i) = adapter; }

private:
    std::vector<std::uint32_t> source_;
};

/// Decides where a request's keys are loaded from, and what stays in L1 afterwards. No I/O, no clock, no state that
/// one request leaves for the next.
///
/// Threads: called on the engine's executor. Errors: a policy does not throw.
class TERRACE_API prefetch_policy {
public:
    virtual ~prefetch_policy() = default;

    [[nodiscard]] virtual std::string_view name() const noexcept = 0;

    /// keys   the request's
    /// found  for each adapter, in order of its index, which keys it has locked for this request and nobody has loaded
    ///        yet; all of keys.size()
    ///
    /// Asked again whenever an adapter has answered or a load has ended.
    /// Answers a plan of keys.size() that names, for each key, an adapter that has it, or none.
    [[nodiscard]] virtual load_plan select_load_plan(std::span<const object_key> keys,
                                                     std::span<const bitmap> found) const = 0;

    /// keys  of one load call, which are a part of the request's, in its order
    ///
    /// Set: the loaded object is retained, left to the eviction policy. Clear: temporary, freed with its last reader.
    /// Not asked for a warm request (lock_mode::no), whose objects are all retained. Of another size than `keys`, it
    /// retains nothing.
    [[nodiscard]] virtual bitmap select_l1_retentions(std::span<const object_key> keys) const = 0;

    /// A policy by its name. Throws std::invalid_argument that lists the names if there is none of this name.
    ///
    ///     default  the adapter of the lowest index that has the key; loaded objects are temporary
    ///     retain   the same plan; loaded objects are retained
    [[nodiscard]] static std::shared_ptr<const prefetch_policy> make(std::string_view name);
};

} // namespace terrace
