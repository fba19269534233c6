#pragma once

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include <terrace/l2_adapter.hpp>

#include "segment_format.hpp"

namespace terrace::segment {

/// Where an object lies, and what is known of it without reading it.
struct record {
    std::uint32_t segment = 0;
    std::uint64_t offset = 0; ///< of its header
    std::uint64_t payload_bytes = 0;
    std::uint64_t fingerprint = 0;
    std::uint64_t sequence = 0;

    [[nodiscard]] std::uint64_t bytes() const noexcept { return record_bytes(payload_bytes); }
    [[nodiscard]] memory_layout layout() const noexcept { return memory_layout::known_by(payload_bytes, fingerprint); }
    friend bool operator==(const record&, const record&) = default;
};

/// An object of a segment.
struct indexed {
    object_key key;
    record where;
    std::uint32_t uses = 0; ///< since it was written there, at most max_uses
    bool locked = false;
};

/// Which objects are stored where, and who holds locks. In memory, with no I/O and no lock of its own.
class segment_index {
public:
    segment_index() = default;
    ~segment_index();
    segment_index(const segment_index&) = delete;
    segment_index& operator=(const segment_index&) = delete;

    [[nodiscard]] std::uint64_t objects() const noexcept { return listed_.size(); }
    [[nodiscard]] std::uint64_t used_bytes() const noexcept { return used_bytes_; } ///< of records
    [[nodiscard]] std::uint64_t locked_objects() const noexcept { return locked_keys_; }
    [[nodiscard]] std::uint64_t locked_bytes() const noexcept { return locked_bytes_; } ///< of records

    [[nodiscard]] const record* find(const object_key& key) const;
    /// What lies in a segment, from its start to its end.
    [[nodiscard]] std::vector<indexed> in_segment(std::uint32_t segment) const;
    [[nodiscard]] std::vector<indexed> all() const;          ///< in the order of a listing
    [[nodiscard]] bool is_dead(std::uint32_t segment) const; ///< nothing lies there

    /// The object lies there from now on, unless a newer record says otherwise. If it throws, nothing has changed.
    void put(const object_key& key, const record& where);
    /// It was copied. False: it is no longer at `from`.
    bool move(const object_key& key, const record& from, const record& to);
    bool erase(const object_key& key);                               ///< false: not there
    bool erase_record(const object_key& key, const record& where);   ///< false: no longer there
    void erase_older(const object_key& key, std::uint64_t sequence); ///< locked or not

    /// The disk cannot read the record. False: that is known, or it is no longer there.
    bool mark_unreadable(const object_key& key, const record& where);
    [[nodiscard]] bool is_unreadable(const object_key& key) const;

    /// Somebody wanted the object: it is worth being written again.
    void touch(const object_key& key);
    static constexpr std::uint32_t max_uses = 3;

    bool lock(const object_key& key);           ///< once more; false: not there
    bool lock_as_victim(const object_key& key); ///< the same, and what the holder does is no use of it
    void unlock(const object_key& key);         ///< if it holds one
    void unlock_all();                          //
    [[nodiscard]] bool is_locked(const object_key& key) const;

    /// See l2_adapter::list.
    [[nodiscard]] key_page list(const list_cursor& cursor) const;

private:
    /// What is known of one key: an object, locks, or both. The locks of an object that goes stay with its key.
    struct entry : boost::intrusive::list_base_hook<>, boost::intrusive::set_base_hook<> {
        const object_key* key = nullptr; // in the map
        record where;
        std::uint64_t position = 0; // in listings; constant while the object is there
        std::uint32_t locks = 0;
        std::uint8_t uses = 0;
        bool unreadable = false; // where it lies now
        bool victim = false;     // locked by lock_as_victim() and by nobody else since

        [[nodiscard]] bool is_stored() const noexcept { return boost::intrusive::set_base_hook<>::is_linked(); }
    };
    struct position_of {
        using type = std::uint64_t;
        const type& operator()(const entry& e) const noexcept { return e.position; }
    };
    using entry_list = boost::intrusive::list<entry>;
    using entry_set = boost::intrusive::set<entry, boost::intrusive::key_of_value<position_of>>;
    using entry_map = std::unordered_map<object_key, entry>;

    [[nodiscard]] entry* find_stored(const object_key& key);
    void place(entry& e, const record& where, entry_list& neighbours) noexcept;
    void unplace(entry& e);
    void remove(entry& e);
    bool lock(entry& e);

    entry_map entries_;
    entry_set listed_;                           // all that have an object
    std::map<std::uint32_t, entry_list> places_; // the same, by segment
    std::uint64_t used_bytes_ = 0;
    std::uint64_t locked_keys_ = 0;
    std::uint64_t locked_bytes_ = 0;
    std::uint64_t last_position_ = 0;
};

} // namespace terrace::segment
