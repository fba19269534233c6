#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/bitmap.hpp>
#include <terrace/memory_layout.hpp>
#include <terrace/object_key.hpp>

namespace terrace {

/// An object to bring from a store: `bytes` is where to, and has layout.size_bytes().
class load_item {
public:
    load_item(const object_key& k, memory_layout l, std::span<std::byte> b) : key{k}, layout{std::move(l)}, bytes{b} {}

    object_key key;
    memory_layout layout;
    std::span<std::byte> bytes;
};

/// What storing does with an object that has the same key.
enum class store_mode : std::uint8_t {
    replace,
    if_absent, ///< one of the same layout has the same bytes, for the key names them: it may be left as it is
};

/// An object to put into a store: `bytes` is where from, and has layout.size_bytes().
class store_item {
public:
    store_item(const object_key& k, memory_layout l, std::span<const std::byte> b, store_mode m = store_mode::replace)
        : key{k},
          layout{std::move(l)},
          bytes{b},
          mode{m}
    {
    }

    object_key key;
    memory_layout layout;
    std::span<const std::byte> bytes;
    store_mode mode;
};

/// An object as a store knows it: see memory_layout::known_by().
class stored_object {
public:
    stored_object(const object_key& k, memory_layout l) : key{k}, layout{std::move(l)} {}

    object_key key;
    memory_layout layout;
};

/// Where a listing goes on. The default starts at the beginning.
class list_cursor {
public:
    list_cursor() = default;
    explicit list_cursor(std::string after_position, std::size_t limit = 1000)
        : after{std::move(after_position)},
          max_keys{limit}
    {
    }

    std::string after;           ///< opaque; from key_page::next
    std::size_t max_keys = 1000; ///< keys in one page at most, >= 1
};

/// One page of the keys that a store holds, in an order of the adapter's.
class key_page {
public:
    key_page() = default;

    std::vector<object_key> keys;
    std::optional<list_cursor> next; ///< none: this is the last page
};

/// Whether a store can be used.
enum class adapter_health : std::uint8_t {
    healthy,
    degraded, ///< works, with errors lately
    failed,   ///< every call fails
};

/// The enumerator's name.
[[nodiscard]] TERRACE_API std::string_view to_string(adapter_health health) noexcept;

/// What a store says of itself. Plain numbers: safe to copy, cheap to take.
class adapter_status {
public:
    adapter_status() = default;

    std::string name;    ///< type and place, as "file:/var/cache/terrace"
    std::string backend; ///< how it reaches its store, as "io_uring, 256 MiB registered"; empty: nothing to tell
    adapter_health health = adapter_health::healthy;
    std::string problem;              ///< the latest error, empty if there was none
    std::uint64_t objects = 0;        ///< stored
    std::uint64_t used_bytes = 0;     ///< stored, as counted against the capacity
    std::uint64_t capacity_bytes = 0; ///< 0: no limit
    std::uint64_t locked_objects = 0; ///< protected from eviction by lookup_and_lock
    std::uint64_t in_flight = 0;      ///< operations that have not completed
    std::uint64_t evicted_objects = 0;
    std::uint64_t corrupt_objects = 0; ///< found damaged or foreign, answered as a miss, and removed
    std::uint64_t failed_stores = 0;   ///< objects that could not be stored
    std::uint64_t kept_objects = 0;    ///< stored under store_mode::if_absent and there already: not written again
};

/// A store of objects below L1: a directory, a bucket, another node. What an adapter's author implements.
///
/// Items     bit i of an answer is for item i; a key stands once in a batch
/// Errors    what concerns one item is its clear bit; a store that cannot be used at all throws system_error
/// Cancelled honours the awaiting coroutine's cancellation, but ends only when it has stopped touching its buffers, and
///           by way of the executor, never inside the call that cancels
/// Lifetime  what is passed in stays valid until the awaitable ends
/// Threads   called and completing on one executor, any number of calls at once; what blocks goes elsewhere
class TERRACE_API l2_adapter {
public:
    virtual ~l2_adapter() = default;

    /// Which keys are stored. Those are locked against eviction, once for each call, until unlock() or close(). A call
    /// that throws has locked nothing.
    virtual asio::awaitable<bitmap> lookup_and_lock(std::span<const object_key> keys) = 0;

    /// Fills the items' bytes with what was stored under key and layout. What is missing, was stored under another
    /// layout or is damaged is a clear bit, whose bytes are then undefined. Damaged objects are removed and counted.
    virtual asio::awaitable<bitmap> load(std::span<const load_item> items) = 0;

    /// Stores, each item by its mode. A set bit: it is visible to lookup_and_lock from now on.
    virtual asio::awaitable<bitmap> store(std::span<const store_item> items) = 0;

    /// Takes back one lock of each key. Keys that hold none are passed over.
    virtual asio::awaitable<void> unlock(std::span<const object_key> keys) = 0;

    /// Removes. A clear bit: not there, or locked and left alone.
    virtual asio::awaitable<bitmap> erase(std::span<const object_key> keys) = 0;

    /// Pages through the keys. Keys that come or go meanwhile may or may not be seen; all others are, once.
    virtual asio::awaitable<key_page> list(list_cursor cursor) = 0;

    /// Where nearly all that is loaded and stored lies: all of L1 that is usable by now. Called before the first load
    /// or store, and again when L1 has grown: it starts where it did, and is longer. For what moves bytes faster in
    /// memory that it knows beforehand, as io_uring and network cards do; others need not care.
    ///
    /// Errors     none: what cannot be registered is used as it is
    /// Lifetime   the memory stays until close() has ended
    /// Threads    the executor; returns at once
    virtual void use_memory(std::span<std::byte> l1) { (void)l1; }

    /// Callable from any thread.
    [[nodiscard]] virtual adapter_status status() const = 0;

    /// Ends what is in flight and releases everything. Called once, with no other call running; only
    /// status() follows it.
    virtual asio::awaitable<void> close() = 0;
};

/// What an adapter with a capacity offers besides l2_adapter, so that what it would evict can move to another tier
/// first. An adapter that does not derive from it evicts on its own, and what it evicts is gone.
class TERRACE_API demotion_source {
public:
    virtual ~demotion_source() = default;

    /// The objects that would be evicted to store `objects` more of `bytes` in all, in that order, locked as by
    /// lookup_and_lock. None if there is room.
    virtual asio::awaitable<std::vector<stored_object>> lock_victims(std::uint64_t objects, std::uint64_t bytes) = 0;
};

} // namespace terrace
