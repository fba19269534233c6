#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>

namespace terrace {

/// Strings by number: equal strings have equal numbers, and a string, once in, never moves and never leaves.
///
/// Threads: any thread. Finding a string that is there takes a shared lock only.
class intern_table {
public:
    /// max_strings  that it will hold, the empty one included; >= 1
    explicit intern_table(std::size_t max_strings) : max_strings_{max_strings} { add({}); }

    /// The string's number; the empty string's is 0. Throws std::length_error, and changes nothing, if the table is
    /// full.
    std::uint32_t id(std::string_view text)
    {
        {
            std::shared_lock lock{mutex_};
            if (auto found = ids_.find(text); found != ids_.end())
                return found->second;
        }
        std::unique_lock lock{mutex_};
        if (auto found = ids_.find(text); found != ids_.end())
            return found->second; // another thread was first
        return add(text);
    }

    /// The string of a number that id() gave.
    [[nodiscard]] std::string_view text(std::uint32_t id) const
    {
        std::shared_lock lock{mutex_};
        return strings_.at(id);
    }

private:
    std::uint32_t add(std::string_view text)
    {
        if (strings_.size() >= max_strings_)
            throw std::length_error("object_key: there are " + std::to_string(max_strings_) +
                                    " distinct model names and cache salts already, which is the limit");
        // Should ids_ fail to grow, the string just added is never found again and costs one place: no harm.
        const std::string& kept = strings_.emplace_back(text);
        auto id = static_cast<std::uint32_t>(strings_.size() - 1);
        ids_.emplace(kept, id);
        return id;
    }

    std::size_t max_strings_;
    mutable std::shared_mutex mutex_;
    std::deque<std::string> strings_;                         // by number; a deque's elements stay where they are
    std::unordered_map<std::string_view, std::uint32_t> ids_; // the keys are views of strings_
};

} // namespace terrace
