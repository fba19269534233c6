#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include <terrace/file_adapter.hpp>
#include <terrace/io/disk_io.hpp>
#include <terrace/object_index.hpp>

#include "file_format.hpp"
#include "object_directory.hpp"

namespace terrace {

/// Answers as threads give them: each its own byte, where a bitmap's bits would share words.
using answers = std::vector<char>;

/// The adapter behind its pointer: coroutines on the caller's executor, which cross to `disk_` with a batch, and what
/// they do there with each item.
class file_adapter::impl : public std::enable_shared_from_this<impl> {
public:
    /// `options` were checked.
    explicit impl(file_options options);

    asio::awaitable<bitmap> lookup_and_lock(std::span<const object_key> keys);
    asio::awaitable<bitmap> load(std::span<const load_item> items);
    asio::awaitable<bitmap> store(std::span<const store_item> items);
    asio::awaitable<void> unlock(std::span<const object_key> keys);
    asio::awaitable<bitmap> erase(std::span<const object_key> keys);
    asio::awaitable<std::vector<stored_object>> lock_victims(std::uint64_t objects, std::uint64_t bytes);
    asio::awaitable<key_page> list(list_cursor cursor);
    [[nodiscard]] adapter_status status() const;
    asio::awaitable<void> close();
    void use_memory(std::span<std::byte> l1) { disk_->use_memory(l1); }
    void stop() noexcept { disk_->stop(); }

private:
    class operation;
    class room;
    class load_batch;
    class store_batch;

    // On threads that may block.
    bool erase_one(const object_key& key);
    bool look_on_disk(const object_key& key);
    bool keep(const store_item& item);
    [[nodiscard]] std::optional<memory_layout> stored_layout(const object_key& key) const;
    void remove_damaged(const object_key& key, const std::string& path, const file::file_facts& read);
    void remove_evicted(std::span<const object_key> keys);
    /// Has the file bypass the page cache, if the memory allows it and the options want it. Whether it does now.
    bool make_direct(const io::unique_fd& file, std::span<const std::byte> payload);
    /// Does again, through the page cache, what the file system refused to do directly, at once or at its end.
    void perform_buffered(const io::unique_fd& file, const io::transfer& refused, io::transfer& again);

    // On any thread.
    [[nodiscard]] std::vector<object_key> unknown(std::span<const object_key> keys) const;
    bitmap lock(std::span<const object_key> keys);
    void touch(std::span<const load_item> items, const answers& loaded);
    void order(std::span<const store_item> items, const answers& stored);
    [[nodiscard]] std::mutex& name_of(const object_key& key) { return names_[key.hash_code() % names_.size()]; }
    void note_problem(std::string what);
    void note_unreadable(const object_key& key);
    void note_failed_store(std::string what);

    const file_options options_;
    file::object_directory directory_;
    std::atomic<std::uint64_t> in_flight_ = 0;
    std::atomic<bool> closed_ = false;
    std::atomic<bool> direct_;                    // wanted, and not refused so far
    std::atomic<bool> last_load_failed_ = false;  // by the disk: a miss is no failure, nor is
    std::atomic<bool> last_store_failed_ = false; // want of capacity

    /// What changes a file's name holds the mutex of its key, so that the index follows the disk. Taken before mutex_.
    std::array<std::mutex, 64> names_;

    mutable std::mutex mutex_; // for what follows; never held over a system call
    object_index index_;
    std::unordered_set<object_key> unreadable_; // files that the disk could not read: to be stored anew
    std::uint64_t evicted_objects_ = 0;
    std::uint64_t corrupt_objects_ = 0;
    std::uint64_t failed_stores_ = 0;
    std::uint64_t kept_objects_ = 0;
    std::string problem_;

    std::unique_ptr<io::disk_io> disk_; // last: its threads use all of the above
};

/// One call: keeps the adapter's state, and shows in its status.
class file_adapter::impl::operation {
public:
    explicit operation(std::shared_ptr<impl> owner);
    operation(const operation&) = delete;
    operation& operator=(const operation&) = delete;
    ~operation() { --owner_->in_flight_; }

private:
    std::shared_ptr<impl> owner_;
};

/// Room in the capacity for one file; given back, unless the file was published in it.
class file_adapter::impl::room {
public:
    room(impl& owner, std::uint64_t bytes);
    room(const room&) = delete;
    room& operator=(const room&) = delete;
    ~room();

    [[nodiscard]] bool taken() const noexcept { return taken_; }
    /// Taken or not, their files are to be removed.
    [[nodiscard]] std::span<const object_key> evicted() const { return evicted_; }
    void insert(const object_key& key);

private:
    impl& owner_;
    const std::uint64_t bytes_;
    std::vector<object_key> evicted_;
    bool taken_ = false;
};

namespace file {

/// A header in memory that direct I/O takes.
struct alignas(header_bytes) aligned_header {
    header_page page;
};

[[nodiscard]] bitmap to_bitmap(const answers& given);

} // namespace file

} // namespace terrace
