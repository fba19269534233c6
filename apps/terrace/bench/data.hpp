#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <terrace/object_key.hpp>

namespace terrace::bench {

/// Fills memory with random bytes, others for each seed.
void fill_random(std::span<std::byte> bytes, std::uint64_t seed);

/// So many keys that no other call has given or will give.
[[nodiscard]] std::vector<object_key> fresh_keys(std::size_t n);

/// Memory of many objects of one size, of random bytes, every page of it touched.
class object_pool {
public:
    object_pool(std::size_t objects, std::size_t object_bytes);

    [[nodiscard]] std::size_t size() const noexcept { return objects_; }
    [[nodiscard]] std::size_t object_bytes() const noexcept { return object_bytes_; }
    /// Object i modulo size().
    [[nodiscard]] std::span<std::byte> object(std::size_t i) const;

private:
    struct free_pages {
        void operator()(std::byte* p) const noexcept;
    };
    std::size_t objects_;
    std::size_t object_bytes_;
    std::size_t stride_;
    std::unique_ptr<std::byte, free_pages> memory_;
};

/// What an engine that copies cannot beat: objects copied from one pool into another.
class copy_ceiling {
public:
    /// from_objects, to_objects  of the two pools: as many as the workload goes round in, so that the caches hold as
    ///                           much of them
    copy_ceiling(std::size_t from_objects, std::size_t to_objects, std::size_t object_bytes);

    /// Copies the next n objects; the seconds that it took.
    double copy(std::size_t n);
    [[nodiscard]] const object_pool& source() const noexcept { return from_; }

private:
    object_pool from_;
    object_pool to_;
    std::size_t next_ = 0;
};

} // namespace terrace::bench
