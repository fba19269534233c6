#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace terrace {

/// One bit per item of a batch: bit i answers for item i.
///
/// Up to 256 bits live inside the object; only a larger batch allocates.
/// Indexes past size() throw std::out_of_range, and so do set operations on bitmaps of different sizes.
class bitmap {
public:
    bitmap() noexcept = default;
    explicit bitmap(std::size_t size, bool value = false) : bitmap{size, uninitialized{}}
    {
        std::ranges::fill(words(), value ? ~word{0} : word{0});
        clear_tail();
    }
    bitmap(const bitmap& from) : bitmap{from.size_, uninitialized{}} { std::ranges::copy(from.words(), begin()); }
    bitmap(bitmap&& from) noexcept { swap(from); }
    bitmap& operator=(const bitmap& from)
    {
        if (word_count() == from.word_count()) {
            size_ = from.size_;
            if (this != &from)
                std::ranges::copy(from.words(), begin());
            return *this;
        }
        return *this = bitmap{from};
    }
    bitmap& operator=(bitmap&& from) noexcept
    {
        swap(from);
        return *this;
    }
    ~bitmap() = default;
    void swap(bitmap& other) noexcept
    {
        std::swap(near_, other.near_);
        far_.swap(other.far_);
        std::swap(size_, other.size_);
    }

    /// The first `ones` of `size` bits set.
    [[nodiscard]] static bitmap first(std::size_t ones, std::size_t size)
    {
        bitmap b{size, true};
        b.keep_first(ones);
        return b;
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    [[nodiscard]] bool test(std::size_t i) const
    {
        check(i);
        return (begin()[i / 64] >> (i % 64)) & 1;
    }

    void set(std::size_t i, bool value = true)
    {
        check(i);
        word& w = begin()[i / 64];
        w = (w & ~(word{1} << (i % 64))) | (word{value} << (i % 64));
    }

    /// How many bits are set.
    [[nodiscard]] std::size_t count() const noexcept
    {
        std::size_t n = 0;
        for (word w : words())
            n += static_cast<std::size_t>(std::popcount(w));
        return n;
    }

    /// How many bits are set before the first clear one: the length of a usable prefix.
    [[nodiscard]] std::size_t leading() const noexcept
    {
        const std::span<const word> all = words();
        for (std::size_t i = 0; i < all.size(); ++i)
            if (all[i] != ~word{0})
                return i * 64 + static_cast<std::size_t>(std::countr_one(all[i]));
        return size_;
    }

    [[nodiscard]] bool none() const noexcept
    {
        return std::ranges::all_of(words(), [](word w) { return w == 0; });
    }
    [[nodiscard]] bool any() const noexcept { return !none(); }
    [[nodiscard]] bool all() const noexcept { return leading() == size_; }

    /// Clears every bit from index n on.
    void keep_first(std::size_t n) noexcept
    {
        if (n >= size_)
            return;
        const std::span<word> all = words();
        all[n / 64] &= (word{1} << (n % 64)) - 1;
        std::ranges::fill(all.subspan(n / 64 + 1), word{0});
    }

    bitmap& operator|=(const bitmap& o)
    {
        return combine(o, [](word a, word b) { return a | b; });
    }
    bitmap& operator&=(const bitmap& o)
    {
        return combine(o, [](word a, word b) { return a & b; });
    }
    /// Clears what is set in `o`.
    bitmap& operator-=(const bitmap& o)
    {
        return combine(o, [](word a, word b) { return a & ~b; });
    }

    [[nodiscard]] friend bitmap operator|(bitmap a, const bitmap& b) { return a |= b; }
    [[nodiscard]] friend bitmap operator&(bitmap a, const bitmap& b) { return a &= b; }
    [[nodiscard]] friend bitmap operator-(bitmap a, const bitmap& b) { return a -= b; }
    [[nodiscard]] friend bitmap operator~(bitmap a)
    {
        for (word& w : a.words())
            w = ~w;
        a.clear_tail();
        return a;
    }
    friend bool operator==(const bitmap& a, const bitmap& b) noexcept
    {
        return a.size_ == b.size_ && std::ranges::equal(a.words(), b.words());
    }

    /// Calls f(i) for each set bit, in ascending order.
    template <class F>
    void for_each_set(F&& f) const
    {
        const std::span<const word> all = words();
        for (std::size_t w = 0; w < all.size(); ++w)
            for (word bits = all[w]; bits != 0; bits &= bits - 1)
                f(w * 64 + static_cast<std::size_t>(std::countr_zero(bits)));
    }

private:
    using word = std::uint64_t;
    static constexpr std::size_t near_words = 4;

    struct uninitialized {};
    bitmap(std::size_t size, uninitialized)
        : far_{size > 64 * near_words ? std::make_unique_for_overwrite<word[]>((size + 63) / 64) : nullptr},
          size_{size}
    {
    }

    [[nodiscard]] std::size_t word_count() const noexcept { return (size_ + 63) / 64; }
    [[nodiscard]] word* begin() noexcept { return far_ != nullptr ? far_.get() : near_.data(); }
    [[nodiscard]] const word* begin() const noexcept { return far_ != nullptr ? far_.get() : near_.data(); }
    [[nodiscard]] std::span<word> words() noexcept { return {begin(), word_count()}; }
    [[nodiscard]] std::span<const word> words() const noexcept { return {begin(), word_count()}; }

    template <class F>
    bitmap& combine(const bitmap& o, F f)
    {
        if (o.size_ != size_)
            throw std::out_of_range("bitmap: sizes differ: " + std::to_string(size_) + " and " +
                                    std::to_string(o.size_));
        std::ranges::transform(words(), o.words(), begin(), f);
        return *this;
    }
    void check(std::size_t i) const
    {
        if (i >= size_) [[unlikely]]
            throw std::out_of_range("bitmap: index " + std::to_string(i) + " of " + std::to_string(size_) + " bits");
    }
    void clear_tail() noexcept
    {
        if (size_ % 64 != 0)
            words().back() &= (word{1} << (size_ % 64)) - 1;
    }

    std::array<word, near_words> near_{}; // bits past size_ are clear
    std::unique_ptr<word[]> far_;         // in its place, if it does not suffice
    std::size_t size_ = 0;
};

/// Copies the items whose bit is set, in order. The sizes must agree.
template <class Container, class T>
[[nodiscard]] Container gather(std::span<const T> items, const bitmap& which)
{
    Container picked;
    picked.reserve(which.count());
    which.for_each_set([&](std::size_t i) { picked.push_back(items[i]); });
    return picked;
}

} // namespace terrace
