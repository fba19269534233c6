#pragma once

#include <functional>

#include "support/world.hpp"

namespace terrace::test {

/// A world, and what a test keeps there while an operation runs.
struct stage {
    explicit stage(const world_options& options) : w{options} {}

    world w;
    std::vector<read_lease> held;
    std::vector<started<prefetch_result>> others; ///< that run beside it
    std::optional<prefetch_handle> handle;
    std::optional<lookup_ticket> ticket;

    /// Starts another prefetch, and keeps it.
    void begin(std::string_view objects) { others.push_back(w.start(w.prefetch(objects))); }
    void shut_all_gates();
    void open_all_gates();
};

/// How many moments there are for cancelling an operation; and at how many of them it ends as aborted, because it waits
/// for something.
struct sweep_size {
    std::size_t moments = 1;
    std::size_t aborted = 0;
};

/// One operation in one situation.
struct scene {
    sweep_size at_least = {}; ///< with less, the sweep has lost its object
    world_options options = {};
    std::function<void(stage&)> before = [](stage&) {};     ///< it is called
    std::function<started<bool>(stage&)> call = nullptr;    ///< it; a result is dropped
    std::function<void(stage&)> meanwhile = nullptr;        ///< nothing is ready to run; null: let_something_happen()
    std::function<void(stage&)> afterwards = [](stage&) {}; ///< whether it was cancelled or not
    bool works_afterwards = true;                           ///< the engine does
};

/// A call that waits for an adapter comes back; if there is none, a second passes.
void let_something_happen(stage& s);

/// Plays the scene again and again, each time from the start, and cancels the operation after 0, 1, 2, ... handlers and
/// happenings, until it completes. Each time it must end as aborted or with its result, at once; then nothing is left
/// locked or staged, and the engine works. And once more, with adapters that answer just as it is cancelled.
void cancel_at_any_moment(const scene& played);

/// How many chunks a prefetch must bring: a number, or two where it depends on who is first.
struct hit_range {
    hit_range(std::size_t n) : least{n}, most{n} {}
    hit_range(std::size_t from, std::size_t to) : least{from}, most{to} {}
    std::size_t least;
    std::size_t most;
};

/// Awaits a prefetch and checks what it brings, which is then given back.
asio::awaitable<bool> hits(asio::awaitable<prefetch_result> work, hit_range expected);

} // namespace terrace::test
