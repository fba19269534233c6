#pragma once

#include "base/event.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

namespace terrace {

/// Where the adapter calls of one step of a request meet the request. Each call answers once; the request may leave
/// before, and what is answered then is refused, so that the call deals with it.
///
/// Threads: one executor.
template <class Answer>
class rendezvous {
public:
    explicit rendezvous(std::size_t calls) : answers_(calls), settled_(calls, false), pending_{calls} {}

    /// False, and `value` is untouched, if nobody waits for it any more.
    bool answer(std::size_t call, Answer&& value)
    {
        if (requester_ == nullptr || settled_[call])
            return false;
        answers_[call] = std::move(value);
        settle(call);
        return true;
    }
    /// The call has no answer, or none in time.
    void give_up(std::size_t call)
    {
        if (!settled_[call])
            settle(call);
    }

    [[nodiscard]] std::size_t size() const noexcept { return answers_.size(); } ///< calls
    [[nodiscard]] bool complete() const noexcept { return pending_ == 0; }
    [[nodiscard]] std::optional<Answer>& operator[](std::size_t call) { return answers_[call]; }

    /// The requester's presence. Its end makes answers come too late.
    class attendance {
    public:
        attendance(rendezvous& place, event& wake) : place_{place} { place_.requester_ = &wake; }
        ~attendance() { place_.requester_ = nullptr; }
        attendance(const attendance&) = delete;
        attendance& operator=(const attendance&) = delete;

    private:
        rendezvous& place_;
    };

private:
    void settle(std::size_t call)
    {
        settled_[call] = true;
        --pending_;
        if (requester_ != nullptr)
            requester_->notify_all();
    }

    std::vector<std::optional<Answer>> answers_;
    std::vector<bool> settled_;
    std::size_t pending_;
    event* requester_ = nullptr; // null: not there yet, or gone
};

} // namespace terrace
