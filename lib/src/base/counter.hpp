#pragma once

#include <atomic>
#include <cstdint>

namespace terrace {

/// A number that any thread changes and reads.
class counter {
public:
    counter& operator+=(std::uint64_t n) noexcept
    {
        value_.fetch_add(n, std::memory_order_relaxed);
        return *this;
    }
    counter& operator-=(std::uint64_t n) noexcept
    {
        value_.fetch_sub(n, std::memory_order_relaxed);
        return *this;
    }
    counter& operator++() noexcept { return *this += 1; }
    counter& operator--() noexcept { return *this -= 1; }
    [[nodiscard]] operator std::uint64_t() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_ = 0;
};

/// One more, while it lives.
class counted {
public:
    explicit counted(counter& gauge) noexcept : gauge_{gauge} { ++gauge_; }
    ~counted() { --gauge_; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;

private:
    counter& gauge_;
};

} // namespace terrace
