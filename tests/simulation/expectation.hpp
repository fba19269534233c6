#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include <terrace/bitmap.hpp>
#include <terrace/prefetch.hpp>

namespace terrace::simulation {

/// What a request may be answered with, by the words of its trim rule alone: slow, and simple.
class expectation {
public:
    explicit expectation(const prefetch_request& request);

    [[nodiscard]] std::size_t size() const noexcept { return keys_.size(); }
    [[nodiscard]] const std::vector<object_key>& keys() const noexcept { return keys_; }
    [[nodiscard]] const memory_layout& layout(std::size_t key) const { return layouts_.at(key); }
    [[nodiscard]] std::uint32_t readers() const noexcept { return readers_; }
    [[nodiscard]] bool locks() const noexcept { return lock_ == lock_mode::yes; }
    [[nodiscard]] std::optional<clock::time_point> deadline() const noexcept { return deadline_; }

    /// The longest prefix, in chunks, for which these have all that it needs.
    [[nodiscard]] std::size_t hits(const bitmap& found) const;
    /// Of what is found.
    [[nodiscard]] bitmap usable(const bitmap& found) const;

private:
    struct group {
        std::size_t first_key = 0;
        std::size_t keys_per_chunk = 1;
        std::size_t window = 0; // in chunks
    };
    /// The keys of these chunks, of which a windowed group needs the last ones.
    [[nodiscard]] bitmap prefix(std::size_t chunks) const;
    [[nodiscard]] bitmap chunk(std::size_t which) const;

    std::vector<group> groups_;
    std::vector<object_key> keys_;
    std::vector<memory_layout> layouts_; // by key
    std::size_t chunks_ = 0;
    trim_rule trim_;
    std::uint32_t readers_;
    lock_mode lock_;
    std::optional<clock::time_point> deadline_;
};

} // namespace terrace::simulation
