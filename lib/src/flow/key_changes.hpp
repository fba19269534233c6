#pragma once

#include "base/event.hpp"

#include <boost/intrusive/list.hpp>
#include <span>
#include <vector>

#include <terrace/bitmap.hpp>
#include <terrace/object_key.hpp>

namespace terrace {

/// Which objects of an adapter are being stored or moved. Calls that run side by side may take effect in any order, so
/// what changes an object that is being changed already has to wait.
///
/// Threads: the engine's executor.
class key_changes {
public:
    /// ended  notified when a change ends, or is late
    explicit key_changes(event& ended) : ended_{ended} {}

    /// One store or one move while it runs: it lives in that coroutine's frame.
    class change : public boost::intrusive::list_base_hook<> {
    public:
        change(key_changes& among, std::vector<object_key> keys);
        ~change();
        change(const change&) = delete;
        change& operator=(const change&) = delete;

        /// It may never end: nobody shall wait for it.
        void late() noexcept;

    private:
        friend class key_changes;
        key_changes& among_;
        const std::vector<object_key> keys_;
        bool late_ = false;
    };

    /// Which of these are being changed, by whatever is not late and by what is.
    struct overlap {
        bitmap in_time;
        bitmap late;
        [[nodiscard]] bitmap all() const { return in_time | late; }
    };
    [[nodiscard]] overlap with(std::span<const object_key> keys) const;

private:
    event& ended_;
    boost::intrusive::list<change, boost::intrusive::constant_time_size<false>> changes_;
};

} // namespace terrace
