#pragma once

#include "base/assert.hpp"

#include <array>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace terrace {

/// Objects of one type, carved from large chunks and reused: no header for each, and no call of the allocator once the
/// population has been reached. Chunks are kept until the slab ends.
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
        if (free_ == nullptr)
            grow();
        cell* c = free_;
        free_ = c->next;
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

    void grow()
    {
        chunks_.push_back(std::make_unique<cell[]>(ChunkObjects));
        for (std::size_t i = ChunkObjects; i-- > 0;) {
            chunks_.back()[i].next = free_;
            free_ = &chunks_.back()[i];
        }
    }

    std::vector<std::unique_ptr<cell[]>> chunks_;
    cell* free_ = nullptr;
    std::size_t live_ = 0;
};

} // namespace terrace
