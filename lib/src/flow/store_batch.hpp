#pragma once

#include "flow/flow_context.hpp"

#include <cstdint>
#include <memory>
#include <vector>

#include <terrace/bitmap.hpp>
#include <terrace/store_policy.hpp>

namespace terrace {

/// Objects for the store flow: locked once each, so that none is evicted before it is stored.
struct store_offer {
    read_lease objects;
    write_mode written = write_mode::new_only;
    store_reason reason = store_reason::committed;
};

[[nodiscard]] inline std::uint64_t bytes_of(const read_lease& objects)
{
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < objects.size(); ++i)
        bytes += objects.bytes(i).size();
    return bytes;
}

[[nodiscard]] inline std::vector<object_key> keys_of(const read_lease& objects)
{
    std::vector<object_key> keys;
    keys.reserve(objects.size());
    for (std::size_t i = 0; i < objects.size(); ++i)
        keys.push_back(objects.key(i));
    return keys;
}

class store_batch;

/// A batch's part for one adapter.
struct store_job {
    std::shared_ptr<store_batch> of;
    read_lease objects; // the target's own
    bitmap which;       // of the batch
    std::uint64_t bytes = 0;
    std::uint32_t attempts = 0; // that failed
    clock::time_point queued_at{};
    bool room_made = false; // in the adapter, as far as that could be
};

/// Some of an offer's objects, as many as make one store call, until the last of their targets is done. Shared by the
/// jobs that it is made of, which hold the objects: each is let go of with its own last target.
class store_batch {
public:
    /// What becomes of objects and batches that are done.
    class listener {
    public:
        virtual ~listener() = default;
        /// The last target of some of these is done: of `stored` all were successful, of `failed` one was not.
        virtual void done(const store_batch& batch, const read_lease& objects, const bitmap& stored,
                          const bitmap& failed) = 0;
        /// An adapter has missed its timeout with some of it: nobody shall wait for that any more.
        virtual void late(const store_batch& batch) noexcept = 0;
        virtual void ended(const store_batch& batch) noexcept = 0;
    };

    /// room  what the objects take of L1
    store_batch(listener& owner, std::uint64_t number, write_mode written, std::size_t objects, std::uint64_t room)
        : owner_{owner},
          number_{number},
          written_{written},
          room_{room},
          targets_left_(objects),
          failed_{objects}
    {
    }
    ~store_batch() { owner_.ended(*this); }
    store_batch(const store_batch&) = delete;
    store_batch& operator=(const store_batch&) = delete;

    [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
    [[nodiscard]] write_mode written() const noexcept { return written_; }
    [[nodiscard]] std::uint64_t room() const noexcept { return room_; }
    /// What was written as new has the bytes that its key names, wherever it is found.
    [[nodiscard]] store_mode mode() const noexcept
    {
        return written_ == write_mode::new_only ? store_mode::if_absent : store_mode::replace;
    }

    /// These are to be stored by one more adapter.
    void ask(const bitmap& which);
    /// Those of the job's objects are done, one way or the other.
    void done(const store_job& job, const bitmap& those, bool stored);
    void late() noexcept { owner_.late(*this); }

private:
    listener& owner_;
    const std::uint64_t number_;
    const write_mode written_;
    const std::uint64_t room_;
    std::vector<std::uint32_t> targets_left_; // of each object
    bitmap failed_;                           // by at least one target
};

} // namespace terrace
