#pragma once

#include "flow/admission.hpp"
#include "flow/l2_locks.hpp"
#include "flow/load_flight.hpp"
#include "l1/l1_cache.hpp"
#include "policy/trim.hpp"

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include <terrace/prefetch.hpp>

namespace terrace {

/// What a request asks for, flat: the keys of its groups one after the other. Shared with the adapter calls, which may
/// outlive it.
struct request_keys {
    request_keys(std::vector<key_group> groups, trim_rule rule);

    request_shape shape;
    std::vector<layout_run> layouts;
    std::vector<object_key> keys;
};

/// One request on its way through the chain, and everything it holds: pins in L1, locks in L2, claims on loads. Every
/// part is a guard; destroying it gives all of it back.
///
/// Threads: the engine's executor; destruction on any thread if it has no claims.
class prefetch_run {
public:
    prefetch_run(prefetch_request request, clock::time_point now);

    [[nodiscard]] const std::vector<object_key>& keys() const noexcept { return what->keys; }
    [[nodiscard]] std::size_t size() const noexcept { return what->keys.size(); }

    /// What can be made usable, or is: in L1, on its way there, or found.
    [[nodiscard]] bitmap available(const bitmap& planned) const
    {
        return (pins.present() | claims.pending() | planned) - claims.failed();
    }
    [[nodiscard]] bitmap trimmed(const bitmap& found) const { return what->shape.usable(found); }

    const std::shared_ptr<const request_keys> what;
    const std::uint32_t readers;
    const lock_mode lock;
    const int priority;
    const std::optional<clock::time_point> deadline;
    const clock::time_point started;

    l1_pins pins;
    bitmap resident;             // in L1 when the request came
    load_claims claims;          // refers to pins
    std::vector<l2_locks> locks; // by index of adapter: what it has that L1 lacks
    bitmap usable;
    std::shared_ptr<admission_queue::share> admitted;
    bool looked_up = false; // every adapter has answered, or is not waited for
    bool timed_out = false;
};

} // namespace terrace
