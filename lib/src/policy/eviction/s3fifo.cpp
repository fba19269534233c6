#include "policy/eviction/ghost_queue.hpp"
#include "policy/eviction/policies.hpp"

#include <algorithm>

namespace terrace {
namespace {

// The constants are the paper's (section 4.2, algorithm 1).
constexpr std::uint64_t small_share = 10;  // the small queue gives first while it has a tenth of the bytes, or more
constexpr std::uint16_t most_wishes = 3;   // what is counted: two bits
constexpr std::uint16_t worth_keeping = 2; // wishes in the small queue that lead into the main one

// What stands in evictable::eviction_marks.
constexpr std::uint16_t wishes_mask = 3;
constexpr std::uint16_t of_small = 4; // in the small queue, or goes there at its release
constexpr std::uint16_t is_locked = 8;
constexpr std::uint16_t is_victim = 16; // was answered by victim(), and nobody has wanted it since

/// S3-FIFO: what nobody wants while it passes through a small queue goes from there, so that a scan leaves the main one
/// alone. What went lately is remembered by hash, and comes back into main.
///
///            admit                                  two wishes
///     new ----------> small -------------------------------------------> main <---+ a wish: round again
///                       | fewer                                          |   |    |
///                       v                 admit: back into main          |   +----+
///                     gone, remembered ----------------------------------^   | none
///                                                                            v  gone
///
/// Shares are of the bytes that are resident, which are the capacity once there is something to evict. When the main
/// queue is full needs no rule of its own: what is moved into it makes the small one smaller than its share.
///
/// A locked object stays where it is until the hand comes by, which takes it out; it comes back at its release. So no
/// call looks at a locked object twice, and each step of the hand is paid for by an admission, a wish or a release.
///
/// Source: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction" (SOSP 2023).
class s3fifo final : public eviction_policy {
public:
    void admit(evictable& object) noexcept override
    {
        bytes_ += object.bytes;
        ++objects_;
        object.eviction_marks = ghosts_.take(object.key.hash_code()) ? 0 : of_small;
        enqueue(object);
    }

    void acquire(evictable& object) noexcept override
    {
        object.eviction_marks = static_cast<std::uint16_t>((object.eviction_marks | is_locked) & ~is_victim);
    }

    void release(evictable& object) noexcept override
    {
        object.eviction_marks &= static_cast<std::uint16_t>(~is_locked);
        if (!object.eviction_hook.is_linked())
            enqueue(object);
    }

    void forget(evictable& object) noexcept override
    {
        // As many as the main queue may have objects.
        if ((object.eviction_marks & is_victim) != 0)
            ghosts_.remember(object.key.hash_code(), objects_ - objects_ / small_share);
        if (object.eviction_hook.is_linked())
            dequeue(object);
        bytes_ -= object.bytes;
        --objects_;
    }

    void touch(evictable& object) noexcept override
    {
        const auto wishes = std::min<std::uint16_t>(wishes_for(object) + 1, most_wishes);
        set_wishes(object, wishes);
        object.eviction_marks &= static_cast<std::uint16_t>(~is_victim);
    }

    [[nodiscard]] evictable* victim() noexcept override
    {
        while (!small_.empty() || !main_.empty()) {
            const bool small_gives = main_.empty() || (!small_.empty() && small_bytes_ * small_share >= bytes_);
            evictable& object = small_gives ? small_.front() : main_.front();
            const bool locked = (object.eviction_marks & is_locked) != 0;
            if (!locked && wishes_for(object) < (small_gives ? worth_keeping : 1)) {
                object.eviction_marks |= is_victim;
                return &object;
            }
            dequeue(object);
            pass(object);
            if (!locked)
                enqueue(object);
        }
        return nullptr;
    }

private:
    [[nodiscard]] static std::uint16_t wishes_for(const evictable& object) noexcept
    {
        return object.eviction_marks & wishes_mask;
    }
    static void set_wishes(evictable& object, std::uint16_t wishes) noexcept
    {
        object.eviction_marks = static_cast<std::uint16_t>((object.eviction_marks & ~wishes_mask) | wishes);
    }

    /// The hand goes by an object that stays: where it stands from now on.
    static void pass(evictable& object) noexcept
    {
        const std::uint16_t wishes = wishes_for(object);
        if ((object.eviction_marks & of_small) == 0) {
            set_wishes(object, wishes == 0 ? 0 : wishes - 1);
        } else if (wishes != 0) {
            // Wanted twice; or once and in use now. Locked without a wish it is only being stored, and has yet to show
            // what it is worth.
            object.eviction_marks &= static_cast<std::uint16_t>(~(of_small | wishes_mask));
        }
    }

    void enqueue(evictable& object) noexcept
    {
        const bool small = (object.eviction_marks & of_small) != 0;
        (small ? small_ : main_).push_back(object);
        small_bytes_ += small ? object.bytes : 0;
    }

    void dequeue(evictable& object) noexcept
    {
        const bool small = (object.eviction_marks & of_small) != 0;
        eviction_queue& from = small ? small_ : main_;
        from.erase(from.iterator_to(object));
        small_bytes_ -= small ? object.bytes : 0;
    }

    eviction_queue small_; // the earliest first
    eviction_queue main_;
    ghost_queue ghosts_;
    std::uint64_t small_bytes_ = 0; // in small_
    std::uint64_t bytes_ = 0;       // resident, and
    std::size_t objects_ = 0;       // how many, locked ones included
};

} // namespace

std::unique_ptr<eviction_policy> make_s3fifo()
{
    return std::make_unique<s3fifo>();
}

} // namespace terrace
