#pragma once

#include <algorithm>
#include <bit>
#include <boost/container/small_vector.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

namespace terrace {

/// One bit per item of a batch: bit i answers for item i.
///
/// Up to 256 bits live inside the object; only a larger batch allocates.
/// Indexes past size() throw std::out_of_range, and so do set operations on bitmaps of different sizes.
class bitmap {
public:
    bitmap() noexcept = default;
    explicit bitmap(std::size_t size, bool value = false)
        : words_((size + 63) / 64, value ? ~word{0} : word{0}),
          size_{size}
    {
        clear_tail();
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
        return (words_[i / 64] >> (i % 64)) & 1;
    }

    void set(std::size_t i, bool value = true)
    {
        check(i);
        if (value)
            words_[i / 64] |= word{1} << (i % 64);
        else
            words_[i / 64] &= ~(word{1} << (i % 64));
    }

    /// How many bits are set.
    [[nodiscard]] std::size_t count() const noexcept
    {
        std::size_t n = 0;
        for (word w : words_)
            n += static_cast<std::size_t>(std::popcount(w));
        return n;
    }

    /// How many bits are set before the first clear one: the length of a usable prefix.
    [[nodiscard]] std::size_t leading() const noexcept
    {
        for (std::size_t i = 0; i < words_.size(); ++i)
            if (words_[i] != ~word{0})
                return i * 64 + static_cast<std::size_t>(std::countr_one(words_[i]));
        return size_;
    }

    [[nodiscard]] bool none() const noexcept
    {
        return std::ranges::all_of(words_, [](word w) { return w == 0; });
    }
    [[nodiscard]] bool any() const noexcept { return !none(); }
    [[nodiscard]] bool all() const noexcept { return leading() == size_; }

    /// Clears every bit from index n on.
    void keep_first(std::size_t n) noexcept
    {
        if (n >= size_)
            return;
        std::size_t w = n / 64;
        words_[w] &= (word{1} << (n % 64)) - 1;
        std::fill(words_.begin() + static_cast<std::ptrdiff_t>(w) + 1, words_.end(), word{0});
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
        for (word& w : a.words_)
            w = ~w;
        a.clear_tail();
        return a;
    }
    friend bool operator==(const bitmap&, const bitmap&) = default;

    /// Calls f(i) for each set bit, in ascending order.
    template <class F>
    void for_each_set(F&& f) const
    {
        for (std::size_t w = 0; w < words_.size(); ++w)
            for (word bits = words_[w]; bits != 0; bits &= bits - 1)
                f(w * 64 + static_cast<std::size_t>(std::countr_zero(bits)));
    }

private:
    using word = std::uint64_t;

    template <class F>
    bitmap& combine(const bitmap& o, F f)
    {
        if (o.size_ != size_)
            throw std::out_of_range("bitmap: sizes differ: " + std::to_string(size_) + " and " +
                                    std::to_string(o.size_));
        for (std::size_t i = 0; i < words_.size(); ++i)
            words_[i] = f(words_[i], o.words_[i]);
        return *this;
    }
    void check(std::size_t i) const
    {
        if (i >= size_)
            throw std::out_of_range("bitmap: index " + std::to_string(i) + " of " + std::to_string(size_) + " bits");
    }
    void clear_tail() noexcept
    {
        if (size_ % 64 != 0)
            words_.back() &= (word{1} << (size_ % 64)) - 1;
    }

    boost::container::small_vector<word, 4> words_; // bits past size_ are clear
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
