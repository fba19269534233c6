#pragma once

#include "blocking_store.hpp"

#include <atomic>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <terrace/l2_adapter.hpp>
#include <terrace/object_index.hpp>

/// An L2 adapter over a client whose calls block: they are made on threads of the adapter's own, while the engine's
/// executor goes on. What is in the store, what is locked and what goes first when it is full, object_index knows.
///
/// Cancelled: load, store and erase leave out the items that they have not begun, and return what was done.
class store_adapter final : public terrace::l2_adapter {
public:
    /// Finds what the store holds: blocks for as long as that takes.
    ///
    /// capacity_bytes  of objects; 0: no limit
    /// threads         calls of the client at a time; >= 1
    explicit store_adapter(std::shared_ptr<blocking_store> store, std::uint64_t capacity_bytes = 0,
                           std::size_t threads = 4);
    /// Waits for the calls of the client that have begun or are queued.
    ~store_adapter() override;

    terrace::asio::awaitable<terrace::bitmap> lookup_and_lock(std::span<const terrace::object_key> keys) override;
    terrace::asio::awaitable<terrace::bitmap> load(std::span<const terrace::load_item> items) override;
    terrace::asio::awaitable<terrace::bitmap> store(std::span<const terrace::store_item> items) override;
    terrace::asio::awaitable<void> unlock(std::span<const terrace::object_key> keys) override;
    terrace::asio::awaitable<terrace::bitmap> erase(std::span<const terrace::object_key> keys) override;
    terrace::asio::awaitable<terrace::key_page> list(terrace::list_cursor cursor) override;
    [[nodiscard]] terrace::adapter_status status() const override;
    terrace::asio::awaitable<void> close() override;

private:
    /// What is done with item i, on a thread of the pool. Bit i of the answer is what it returns.
    using job = std::function<bool(std::size_t i)>;
    /// A number by which item i has its strand: items of one number are worked on one after the other.
    using place = std::function<std::size_t(std::size_t i)>;
    struct batch;

    terrace::asio::awaitable<terrace::bitmap> for_each(std::size_t items, place where, job work);
    void post(std::size_t where, std::function<void()> work);

    bool load_one(const terrace::load_item& item);
    bool store_one(const terrace::store_item& item);
    bool erase_one(const terrace::object_key& key);
    bool kept(const terrace::store_item& item);
    bool make_room(std::uint64_t bytes);
    void forget(const terrace::object_key& evicted);
    [[nodiscard]] bool has(const terrace::object_key& key) const;

    std::shared_ptr<blocking_store> store_;
    std::atomic<std::uint64_t> in_flight_ = 0;

    mutable std::mutex mutex_; // of what follows, which the engine's thread and those of the pool use
    terrace::object_index index_;
    terrace::adapter_status counted_; // its counters and its problem

    terrace::asio::thread_pool threads_;
    /// A key's jobs are done on one strand, one after the other: the client then never stores an object while it
    /// removes the one before it.
    std::vector<terrace::asio::strand<terrace::asio::thread_pool::executor_type>> strands_;
};
