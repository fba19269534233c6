#pragma once

#include <cstddef>
#include <span>
#include <stdexcept>
#include <vector>

#include <terrace/memory_hook.hpp>

namespace terrace::test {

/// A memory_hook that writes down what it is told, and refuses slices when the test says so.
struct recording_hook : memory_hook {
    void attach(std::span<std::byte> slice) override
    {
        ++attempts;
        if (attached.size() >= most)
            throw std::runtime_error("the device has no room for another slice");
        slice.front() = slice.back() = std::byte{1}; // it is there
        attached.push_back(slice);
    }
    void detach(std::span<std::byte> slice) noexcept override
    {
        slice.front() = std::byte{2}; // it still is
        detached.push_back(slice);
    }
    /// Whether what was attached has been detached, the last first.
    [[nodiscard]] bool all_detached_in_reverse() const
    {
        if (attached.size() != detached.size())
            return false;
        for (std::size_t i = 0; i < attached.size(); ++i)
            if (attached[i].data() != detached[detached.size() - 1 - i].data())
                return false;
        return true;
    }

    std::size_t most = SIZE_MAX; ///< slices that it takes
    std::size_t attempts = 0;
    std::vector<std::span<std::byte>> attached; ///< ever
    std::vector<std::span<std::byte>> detached;
};

} // namespace terrace::test
