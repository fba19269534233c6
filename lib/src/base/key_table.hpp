#pragma once

#include "base/assert.hpp"
#include "base/huge_pages.hpp"
#include "base/prefetch.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <utility>

#include <terrace/object_key.hpp>

namespace terrace {

/// A hash table of objects that live elsewhere, by their `key`: 12 to 23 bytes for each, and nothing in them.
///
/// Its lines are cache lines, of seven objects and a byte of each one's hash. An object lies in the line that its hash
/// names, its home, or if that is full in the next one with room. Each line knows how many have passed it by. So a
/// lookup costs an access to the table and one to the object, seldom more, and one of a key that is not there seldom
/// looks at an object.
///
/// It grows line by line, one with each insertion, so that none of ten million insertions has to wait for all those
/// before it. A batch of lookups overlaps its cache misses: see find_each().
///
/// Source: F14 (N. Bronson and X. Shi, Facebook, 2019), here with the next line in place of a second hash.
///
/// Threads: none of its own.
template <class T>
class key_table {
public:
    key_table() : current_{first_lines} {} ///< throws std::bad_alloc
    key_table(const key_table&) = delete;
    key_table& operator=(const key_table&) = delete;

    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /// The object of this key, or null.
    [[nodiscard]] T* find(const object_key& key) const noexcept
    {
        const std::size_t hash = key.hash_code();
        return lines_of(hash).find(key, hash);
    }

    /// Calls f(i, object or null) for key after key, until it returns false. What the lookups to come will touch is
    /// fetched meanwhile: out of the cache, a batch costs a fraction of as many find(). f may change the table.
    ///
    /// Source: group prefetching, S. Chen et al., Improving Hash Join Performance through Prefetching, ICDE 2004.
    template <class F>
    void find_each(std::span<const object_key> keys, F&& f) const
    {
        std::array<std::size_t, ahead> hashes; // of the keys to come, key i's at i % ahead
        const auto fetch_line_of = [&](std::size_t i) {
            const std::size_t hash = keys[i].hash_code();
            hashes[i % ahead] = hash;
            fetch_line(hash);
        };
        const auto fetch_object_of = [&](std::size_t i) { fetch_object(hashes[i % ahead]); };
        for (std::size_t i = 0; i < std::min(keys.size(), ahead); ++i)
            fetch_line_of(i);
        for (std::size_t i = 0; i < std::min(keys.size(), ahead / 2); ++i)
            fetch_object_of(i);
        for (std::size_t i = 0; i < keys.size(); ++i) {
            if (i + ahead / 2 < keys.size())
                fetch_object_of(i + ahead / 2);
            const std::size_t hash = hashes[i % ahead];
            if (i + ahead < keys.size())
                fetch_line_of(i + ahead);
            if (!f(i, lines_of(hash).find(keys[i], hash)))
                return;
        }
    }

    /// Fetches what a lookup or an insertion of this key will look at first.
    void prefetch(const object_key& key) const noexcept { fetch_line(key.hash_code()); }
    /// Fetches an object, the way find_each() does.
    static void fetch(const T* object) noexcept
    {
        constexpr std::uintptr_t cache_line = 64;
        prefetch_line(object);
        prefetch_line(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(object) + cache_line));
    }

    /// The next so many insertions will not throw. Throws std::bad_alloc.
    void reserve(std::size_t more)
    {
        while (size_ + more > comfortable(current_)) {
            while (!old_.empty())
                move_line();
            try {
                lines larger{2 * current_.count()};
                old_ = std::exchange(current_, std::move(larger));
                moved_ = 0;
            } catch (const std::bad_alloc&) {
                if (size_ + more > possible(current_))
                    throw;
                return; // it gets crowded
            }
        }
    }

    /// No object of this key is in the table. Throws std::bad_alloc: nothing has changed.
    void insert(T& object)
    {
        reserve(1);
        if (!old_.empty())
            move_line();
        const std::size_t hash = object.key.hash_code();
        lines_of(hash).insert(object, hash);
        ++size_;
    }

    void erase(T& object) noexcept
    {
        const std::size_t hash = object.key.hash_code();
        lines_of(hash).erase(object, hash);
        --size_;
    }

    /// Calls f(object) for each. f may erase the object, and nothing else.
    template <class F>
    void for_each(F&& f)
    {
        current_.for_each(f);
        old_.for_each(f);
    }
    template <class F>
    void for_each(F&& f) const
    {
        const_cast<key_table&>(*this).for_each([&](const T& object) { f(object); });
    }

private:
    static constexpr std::size_t first_lines = 256;
    static constexpr std::size_t ahead = 16; // lookups that are under way

    /// Marks tell without a look at the objects which of them a key may be: seven bits of the hash and one that is set;
    /// 0 where there is none. They are worked on together, a byte each.
    struct alignas(64) line {
        static constexpr std::size_t slots = 7;
        static constexpr std::uint64_t each = 0x0001'0101'0101'0101; // times a byte: that byte for every slot
        static constexpr std::uint64_t one_passed = std::uint64_t{1} << 56;
        static constexpr std::uint64_t most_passed = 255 * one_passed;

        std::uint64_t marks;           // by slot; and in the last byte how many have passed by, 255: too many to tell
        std::array<T*, slots> objects; // null: none

        [[nodiscard]] static std::uint64_t mark_of(std::size_t hash) noexcept { return 0x80 | hash >> 57; }

        // These have bit 7 of the byte of each slot that is meant.
        [[nodiscard]] std::uint64_t taken() const noexcept { return marks & 0x80 * each; }
        [[nodiscard]] std::uint64_t free() const noexcept { return ~marks & 0x80 * each; }
        [[nodiscard]] std::uint64_t with(std::uint64_t mark) const noexcept
        {
            const std::uint64_t differ = marks ^ mark * each;
            const std::uint64_t carry = (differ & 0x7f * each) + 0x7f * each;
            return ~(carry | differ) & 0x80 * each;
        }
        [[nodiscard]] static std::size_t first_of(std::uint64_t some) noexcept
        {
            return static_cast<std::size_t>(std::countr_zero(some)) / 8;
        }

        [[nodiscard]] bool passed_by() const noexcept { return marks >= one_passed; }
        void pass() noexcept { marks += marks < most_passed ? one_passed : 0; }
        void unpass() noexcept { marks -= marks < most_passed ? one_passed : 0; }
    };
    static_assert(sizeof(line) == 64);

    /// So many of them, a power of two, or none.
    class lines {
    public:
        lines() = default;
        explicit lines(std::size_t count)
            : memory_{count * sizeof(line)},
              first_{static_cast<line*>(memory_.data())},
              mask_{count - 1}
        {
        }

        [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
        [[nodiscard]] std::size_t count() const noexcept { return mask_ + 1; }
        [[nodiscard]] std::size_t home(std::size_t hash) const noexcept { return hash & mask_; }
        [[nodiscard]] line& operator[](std::size_t i) const noexcept { return first_[i]; }

        [[nodiscard]] T* find(const object_key& key, std::size_t hash) const noexcept
        {
            const std::uint64_t mark = line::mark_of(hash);
            for (std::size_t n = 0; n < count(); ++n) {
                const line& l = first_[(hash + n) & mask_];
                for (std::uint64_t like = l.with(mark); like != 0; like &= like - 1)
                    if (T* object = l.objects[line::first_of(like)]; object->key == key)
                        return object;
                if (!l.passed_by())
                    break;
            }
            return nullptr;
        }

        void insert(T& object, std::size_t hash) noexcept
        {
            for (std::size_t n = 0; n < count(); ++n) {
                line& l = first_[(hash + n) & mask_];
                if (const std::uint64_t free = l.free(); free != 0) {
                    const std::size_t slot = line::first_of(free);
                    l.objects[slot] = &object;
                    l.marks |= line::mark_of(hash) << 8 * slot;
                    return;
                }
                l.pass();
            }
            TERRACE_ASSERT(false); // reserve() has made room
        }

        void erase(const T& object, std::size_t hash) noexcept
        {
            const std::uint64_t mark = line::mark_of(hash);
            for (std::size_t n = 0; n < count(); ++n) {
                line& l = first_[(hash + n) & mask_];
                for (std::uint64_t like = l.with(mark); like != 0; like &= like - 1)
                    if (const std::size_t slot = line::first_of(like); l.objects[slot] == &object) {
                        l.objects[slot] = nullptr;
                        l.marks &= ~(std::uint64_t{0xff} << 8 * slot);
                        return;
                    }
                l.unpass();
            }
            TERRACE_ASSERT(false); // it is in the table
        }

        template <class F>
        void for_each(F&& f)
        {
            for (std::size_t i = 0; !empty() && i < count(); ++i)
                for (std::uint64_t taken = first_[i].taken(); taken != 0; taken &= taken - 1)
                    f(*first_[i].objects[line::first_of(taken)]);
        }

    private:
        zeroed_pages memory_;
        line* first_ = nullptr;
        std::size_t mask_ = 0; // lines less one
    };

    // Objects in so many lines: 5.5 of 7 places taken, with one in twelve beyond its home; and 6.5, with one in six.
    [[nodiscard]] static std::size_t comfortable(const lines& in) noexcept { return in.count() * 11 / 2; }
    [[nodiscard]] static std::size_t possible(const lines& in) noexcept { return in.count() * 13 / 2; }

    [[nodiscard]] lines& lines_of(std::size_t hash) noexcept
    {
        return !old_.empty() && old_.home(hash) >= moved_ ? old_ : current_;
    }
    [[nodiscard]] const lines& lines_of(std::size_t hash) const noexcept
    {
        return const_cast<key_table&>(*this).lines_of(hash);
    }

    void fetch_line(std::size_t hash) const noexcept
    {
        const lines& in = lines_of(hash);
        prefetch_line(&in[in.home(hash)]);
    }
    /// Once the line is there.
    void fetch_object(std::size_t hash) const noexcept
    {
        const lines& in = lines_of(hash);
        const line& l = in[in.home(hash)];
        if (const std::uint64_t like = l.with(line::mark_of(hash)); like != 0)
            fetch(l.objects[line::first_of(like)]);
    }

    /// What has the next old line for its home, wherever it lies. Its objects were fetched two insertions ago.
    void move_line() noexcept
    {
        constexpr std::size_t fetched_ahead = 2;
        if (moved_ + fetched_ahead < old_.count())
            for (const T* object : old_[moved_ + fetched_ahead].objects)
                fetch(object);
        const std::size_t home = moved_++;
        bool more = true;
        for (std::size_t n = 0; more && n < old_.count(); ++n) {
            const line& l = old_[old_.home(home + n)];
            more = l.passed_by();
            for (std::uint64_t taken = l.taken(); taken != 0; taken &= taken - 1) {
                T& object = *l.objects[line::first_of(taken)];
                const std::size_t hash = object.key.hash_code();
                if (old_.home(hash) != home)
                    continue; // it passed its own by
                old_.erase(object, hash);
                current_.insert(object, hash);
            }
        }
        if (moved_ == old_.count())
            old_ = lines{};
    }

    lines current_;
    lines old_; // while it grows: what has its home at moved_ or behind has not been moved yet
    std::size_t moved_ = 0;
    std::size_t size_ = 0;
};

} // namespace terrace
