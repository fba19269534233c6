#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace terrace {

/// Room for a number of objects that is known at the start, in one piece. They are made one by one, need not be
/// movable, and stay where they are.
template <class T>
class fixed_array {
public:
    explicit fixed_array(std::size_t room) : room_{std::allocator<T>{}.allocate(room)}, capacity_{room} {}
    fixed_array(const fixed_array&) = delete;
    fixed_array& operator=(const fixed_array&) = delete;
    ~fixed_array()
    {
        std::destroy(begin(), end());
        std::allocator<T>{}.deallocate(room_, capacity_);
    }

    /// There is room for it.
    template <class... Arguments>
    T& emplace_back(Arguments&&... arguments)
    {
        T* made = std::construct_at(room_ + size_, std::forward<Arguments>(arguments)...);
        ++size_;
        return *made;
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] T& operator[](std::size_t i) noexcept { return room_[i]; }
    [[nodiscard]] T* begin() noexcept { return room_; }
    [[nodiscard]] T* end() noexcept { return room_ + size_; }
    [[nodiscard]] const T* begin() const noexcept { return room_; }
    [[nodiscard]] const T* end() const noexcept { return room_ + size_; }

private:
    T* room_;
    std::size_t capacity_;
    std::size_t size_ = 0;
};

} // namespace terrace
