#pragma once

#include <chrono>
#include <string>

#include "replay/replayer.hpp"

namespace terrace::replay {

/// One line that says how far a replay has come:
///
///     [#########...............]  38 %  764/2,000  2,311/s  hits 27.4 %  ETA 0:01
[[nodiscard]] std::string progress_line(const replay_progress& progress);

/// Shows progress_line() on standard error, if that is a terminal, ten times a second at most.
class progress_bar {
public:
    progress_bar();
    progress_bar(const progress_bar&) = delete;
    progress_bar& operator=(const progress_bar&) = delete;
    ~progress_bar() { clear(); }

    void show(const replay_progress& progress);
    /// Takes the line away, so that other output has the terminal.
    void clear();

private:
    bool on_terminal_;
    bool shown_ = false;
    std::chrono::nanoseconds next_{0}; // the elapsed time from which on it is due again
};

} // namespace terrace::replay
