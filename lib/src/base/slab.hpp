#pragma once

#include "base/assert.hpp"
#include "base/huge_pages.hpp"

#include <array>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace terrace {

/// Objects of one type, carved from large chunks and reused: no header for each, and no call of the allocator once the
/// population has been reached. Chunks are kept until the slab ends; once there are many objects, they are huge pages.
///
/// Threads: none of its own.
template <class T, std::size_t ChunkObjects = 1024>
class slab {
public:
    slab() = default;
    slab(const slab&) = delete;
    slab& operator=(const slab&) = delete;
    ~slab() { TERRACE_ASSERT(live_ == 0); }

    template <class... Arguments>
    [[nodiscard]] T& make(Arguments&&... arguments)
    {
        cell* c = free_;
        if (c != nullptr) {
            free_ = c->next;
        } else {
            if (fresh_ == fresh_end_)
                grow();
            c = std::construct_at(fresh_++);
        }
        T* object = std::construct_at(reinterpret_cast<T*>(c->storage.data()), std::forward<Arguments>(arguments)...);
        ++live_;
        return *object;
    }

    void destroy(T& object) noexcept
    {
        std::destroy_at(&object);
        cell* c = reinterpret_cast<cell*>(&object);
        c->next = free_;
        free_ = c;
        --live_;
    }

private:
    union cell {
        cell() noexcept : next{nullptr} {}
        cell* next;
        alignas(T) std::array<std::byte, sizeof(T)> storage;
    };

    static_assert(sizeof(cell) <= huge_page_bytes); // one at least goes into a large chunk
    static constexpr std::size_t many_chunks = 8 * huge_page_bytes / (ChunkObjects * sizeof(cell)); // small ones

    void grow()
    {
        if (small_.size() < many_chunks) {
            small_.push_back(std::make_unique_for_overwrite<small_chunk>());
            fresh_ = reinterpret_cast<cell*>(small_.back()->data());
            fresh_end_ = fresh_ + ChunkObjects;
        } else {
            large_.emplace_back(huge_page_bytes);
            fresh_ = static_cast<cell*>(large_.back().data());
            fresh_end_ = fresh_ + huge_page_bytes / sizeof(cell);
        }
    }

    struct alignas(cell) small_chunk {
        [[nodiscard]] std::byte* data() noexcept { return memory.data(); }
        std::array<std::byte, ChunkObjects * sizeof(cell)> memory;
    };

    std::vector<std::unique_ptr<small_chunk>> small_;
    std::vector<zeroed_pages> large_;
    cell* free_ = nullptr;  // used and given back
    cell* fresh_ = nullptr; // never used, in the last chunk
    cell* fresh_end_ = nullptr;
    std::size_t live_ = 0;
};

} // namespace terrace
