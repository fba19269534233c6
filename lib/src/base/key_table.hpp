#pragma once

#include "base/assert.hpp"
#include "base/huge_pages.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include <terrace/object_key.hpp>

namespace terrace {

/// Membership in a key_table.
template <class T>
struct key_table_hook {
    T* next = nullptr; // null: in none; itself: the last of its chain

    [[nodiscard]] bool is_linked() const noexcept { return next != nullptr; }
};

/// A hash table of objects that live elsewhere, by their `key`: one pointer in each object and one to two for it in the
/// table.
///
/// It grows bucket by bucket, a few with each insertion, so that none of ten million insertions has to wait for all
/// those before it. A batch of lookups overlaps its cache misses: see find_each().
///
/// Threads: none of its own.
template <class T, key_table_hook<T> T::*Hook>
class key_table {
public:
    key_table() : buckets_{allocate(first_buckets)}, mask_{first_buckets - 1}
    {
        if (buckets_ == nullptr)
            throw std::bad_alloc{};
    }
    key_table(const key_table&) = delete;
    key_table& operator=(const key_table&) = delete;

    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /// The object of this key, or null.
    [[nodiscard]] T* find(const object_key& key) const noexcept { return find(key, key.hash_code()); }

    /// Calls f(i, object or null) for key after key, until it returns false. What the lookups to come will touch is
    /// fetched meanwhile: out of the cache, a batch costs a fraction of as many find(). f may change the table.
    ///
    /// Source: group prefetching, S. Chen et al., Improving Hash Join Performance through Prefetching, ICDE 2004.
    template <class F>
    void find_each(std::span<const object_key> keys, F&& f) const
    {
        std::array<std::size_t, ahead> hashes; // of the keys to come, key i's at i % ahead
        const auto fetch_bucket = [&](std::size_t i) {
            const std::size_t hash = keys[i].hash_code();
            hashes[i % ahead] = hash;
            __builtin_prefetch(&bucket(hash));
        };
        const auto fetch_object = [&](std::size_t i) { fetch(bucket(hashes[i % ahead])); };
        for (std::size_t i = 0; i < std::min(keys.size(), ahead); ++i)
            fetch_bucket(i);
        for (std::size_t i = 0; i < std::min(keys.size(), ahead / 2); ++i)
            fetch_object(i);
        for (std::size_t i = 0; i < keys.size(); ++i) {
            if (i + ahead / 2 < keys.size())
                fetch_object(i + ahead / 2);
            const std::size_t hash = hashes[i % ahead];
            if (i + ahead < keys.size())
                fetch_bucket(i + ahead);
            if (!f(i, find(keys[i], hash)))
                return;
        }
    }

    /// Fetches what an insertion or a lookup of this key will touch first.
    void prefetch(const object_key& key) const noexcept { __builtin_prefetch(&bucket(key.hash_code())); }
    /// Fetches an object, the way find_each() does.
    static void fetch(const T* object) noexcept
    {
        if (object == nullptr)
            return;
        constexpr std::uintptr_t cache_line = 64;
        __builtin_prefetch(object);
        __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(object) + cache_line));
    }

    /// No object of this key is in the table.
    void insert(T& object) noexcept
    {
        TERRACE_ASSERT(!(object.*Hook).is_linked());
        make_room();
        ++size_;
        push(bucket(object.key.hash_code()), object);
    }

    void erase(T& object) noexcept
    {
        T*& head = bucket(object.key.hash_code());
        T* after = next(object);
        if (head == &object) {
            head = after;
        } else {
            T* before = head;
            while ((before->*Hook).next != &object)
                before = (before->*Hook).next;
            (before->*Hook).next = after != nullptr ? after : before;
        }
        (object.*Hook).next = nullptr;
        --size_;
    }

    /// Calls f(object) for each. f may erase the object, and nothing else.
    template <class F>
    void for_each(F&& f)
    {
        const auto walk = [&](std::span<T*> heads) {
            for (T* at : heads)
                while (at != nullptr)
                    f(*std::exchange(at, next(*at)));
        };
        walk({buckets_.get(), mask_ + 1});
        if (old_ != nullptr)
            walk({old_.get(), old_mask_ + 1});
    }
    template <class F>
    void for_each(F&& f) const
    {
        const_cast<key_table&>(*this).for_each([&](const T& object) { f(object); });
    }

private:
    static constexpr std::size_t first_buckets = 1024;
    static constexpr std::size_t moved_at_once = 4; // buckets with each insertion: done long before the next growth
    static constexpr std::size_t ahead = 16;        // lookups that are under way

    struct freed {
        void operator()(T** buckets) const noexcept { std::free(buckets); }
    };
    using bucket_array = std::unique_ptr<T*[], freed>;

    /// Of null pointers; from the kernel, if large, and then at no cost before a page is used. Null: no memory.
    static bucket_array allocate(std::size_t buckets) noexcept
    {
        bucket_array made{static_cast<T**>(std::calloc(buckets, sizeof(T*)))};
        if (made != nullptr && buckets * sizeof(T*) >= 8 * huge_page_bytes)
            advise_huge_pages(made.get(), buckets * sizeof(T*));
        return made;
    }

    [[nodiscard]] static T* next(const T& object) noexcept
    {
        T* after = (object.*Hook).next;
        return after == &object ? nullptr : after;
    }
    static void push(T*& head, T& object) noexcept
    {
        (object.*Hook).next = head != nullptr ? head : &object;
        head = &object;
    }

    [[nodiscard]] T*& bucket(std::size_t hash) const noexcept
    {
        if (old_ != nullptr && (hash & old_mask_) >= moved_)
            return old_[hash & old_mask_];
        return buckets_[hash & mask_];
    }

    [[nodiscard]] T* find(const object_key& key, std::size_t hash) const noexcept
    {
        for (T* at = bucket(hash); at != nullptr; at = next(*at))
            if (at->key == key)
                return at;
        return nullptr;
    }

    void make_room() noexcept
    {
        if (old_ == nullptr && size_ > mask_)
            if (bucket_array larger = allocate(2 * (mask_ + 1)); larger != nullptr) { // else chains become longer
                old_ = std::exchange(buckets_, std::move(larger));
                old_mask_ = std::exchange(mask_, 2 * mask_ + 1);
                moved_ = 0;
            }
        for (std::size_t i = 0; i < moved_at_once && old_ != nullptr; ++i)
            move_bucket();
    }

    void move_bucket() noexcept
    {
        for (T* at = std::exchange(old_[moved_], nullptr); at != nullptr;) {
            T& object = *std::exchange(at, next(*at));
            push(buckets_[object.key.hash_code() & mask_], object);
        }
        if (moved_++ == old_mask_)
            old_.reset();
    }

    bucket_array buckets_;
    std::size_t mask_; // buckets less one
    bucket_array old_; // while it grows: those from moved_ on have not been moved yet
    std::size_t old_mask_ = 0;
    std::size_t moved_ = 0;
    std::size_t size_ = 0;
};

} // namespace terrace
