#include <terrace/segment_adapter.hpp>

#include <algorithm>
#include <atomic>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>
#include <deque>
#include <fmt/format.h>
#include <stdexcept>

#include <terrace/io/disk_io.hpp>

#include "health_record.hpp"
#include "load_batch.hpp"
#include "segment_log.hpp"
#include "segment_setup.hpp"
#include "segment_writer.hpp"

namespace terrace {

using segment::block_bytes;
using segment::outgoing;

namespace {

io::disk_io_options disk_options_of(const segment_options& options)
{
    io::disk_io_options disk;
    disk.backend = io::parse_io_backend(options.io);
    disk.threads = options.threads;
    disk.register_memory = options.register_memory;
    return disk;
}

void check(std::span<const object_key> keys)
{
    if (std::ranges::any_of(keys, &object_key::empty))
        throw std::invalid_argument("segment adapter: empty key");
}

template <class Item>
void check(std::span<const Item> items)
{
    for (const Item& item : items) {
        if (item.key.empty())
            throw std::invalid_argument("segment adapter: empty key");
        if (item.bytes.empty() || item.bytes.size() != item.layout.size_bytes())
            throw std::invalid_argument(fmt::format("segment adapter: {}: a buffer of {} bytes, expected {}, and not 0",
                                                    item.key.to_string(), item.bytes.size(), item.layout.size_bytes()));
    }
}

/// Below this, a checksum takes less time than it takes to wake a thread for it.
constexpr std::uint64_t inline_checksum_bytes = 128 << 10;
/// While so much is being written, the checksums of what follows are made.
constexpr std::uint64_t slice_bytes = 16 << 20;

} // namespace

/// The adapter behind its pointer.
class segment_adapter::impl : public std::enable_shared_from_this<impl> {
public:
    explicit impl(segment_options options);

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
    void stop() noexcept
    {
        closed_ = true;
        writer_.stop();
        disk_->stop();
    }

private:
    class operation;
    asio::awaitable<void> enqueue(std::deque<outgoing>& records, segment::store_call& call);

    const segment_options options_;
    std::atomic<std::uint64_t> in_flight_ = 0;
    std::atomic<bool> closed_ = false;
    segment::health_record health_;
    segment::segment_log log_;
    std::unique_ptr<io::disk_io> disk_;
    segment::segment_writer writer_;
};

/// One call: keeps the adapter's state, and shows in its status.
class segment_adapter::impl::operation {
public:
    explicit operation(std::shared_ptr<impl> owner) : owner_{std::move(owner)}
    {
        if (owner_->closed_)
            throw boost::system::system_error(errc::closed, "segment adapter");
        ++owner_->in_flight_;
    }
    operation(const operation&) = delete;
    operation& operator=(const operation&) = delete;
    ~operation() { --owner_->in_flight_; }

private:
    std::shared_ptr<impl> owner_;
};

segment_adapter::impl::impl(segment_options options)
    : options_{segment::checked(std::move(options))},
      log_{segment::open_log(options_, health_)},
      disk_{io::disk_io::make(disk_options_of(options_))},
      writer_{log_, *disk_, options_.sync, health_}
{
}

// ---- lookup ----

asio::awaitable<bitmap> segment_adapter::impl::lookup_and_lock(std::span<const object_key> keys)
{
    const operation running{shared_from_this()};
    co_return log_.lock(keys);
}

asio::awaitable<void> segment_adapter::impl::unlock(std::span<const object_key> keys)
{
    const operation running{shared_from_this()};
    log_.unlock(keys);
    co_return;
}

// ---- load ----

asio::awaitable<bitmap> segment_adapter::impl::load(std::span<const load_item> items)
{
    const operation running{shared_from_this()};
    bitmap loaded{items.size()};
    {
        segment::load_batch work{log_, health_, items};
        co_await disk_->run(items.size(), work);
        for (std::size_t i = 0; i < items.size(); ++i)
            loaded.set(i, work.loaded(i));
    }
    writer_.reader_left();
    loaded.for_each_set([&](std::size_t i) { log_.touch(items[i].key); });
    co_return loaded;
}

// ---- store ----

asio::awaitable<bitmap> segment_adapter::impl::store(std::span<const store_item> items)
{
    const operation running{shared_from_this()};
    const asio::any_io_executor here = co_await asio::this_coro::executor;
    bitmap stored{items.size()};
    std::deque<outgoing> records; // they are linked: they do not move
    std::vector<std::size_t> item_of;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const store_item& item = items[i];
        if (item.mode == store_mode::if_absent && log_.keep(item.key, item.layout)) {
            stored.set(i);
        } else if (item.bytes.size() > log_.max_payload_bytes()) {
            health_.store_refused(fmt::format("storing {}: {} bytes, and a segment has room for {}",
                                              item.key.to_string(), item.bytes.size(), log_.max_payload_bytes()));
        } else {
            outgoing& record = records.emplace_back();
            record.keys.push_back(item.key);
            record.fingerprint = item.layout.fingerprint();
            record.payload = item.bytes;
            item_of.push_back(i);
        }
    }

    segment::store_call call{here};
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    co_await asio::this_coro::throw_if_cancelled(false); // what is enqueued must be waited for
    std::exception_ptr failed;
    asio::awaitable<void> written = writer_.finish(call); // made while nothing has to be waited for
    try {
        co_await enqueue(records, call);
    } catch (...) {
        failed = std::current_exception();
    }
    co_await std::move(written);
    co_await asio::this_coro::throw_if_cancelled(throws);
    if (failed)
        std::rethrow_exception(failed);
    for (std::size_t i = 0; i < records.size(); ++i)
        stored.set(item_of[i], records[i].written);
    const auto refused = [](const outgoing& record) { return record.failed.failed(); };
    if (!items.empty() && records.size() == items.size() && std::ranges::all_of(records, refused))
        throw boost::system::system_error(records.front().failed, "storing in " + options_.place.string());
    co_return stored;
}

/// Makes the checksums, and has the first records written while it makes those of the next.
asio::awaitable<void> segment_adapter::impl::enqueue(std::deque<outgoing>& records, segment::store_call& call)
{
    for (std::size_t first = 0; first < records.size();) {
        std::size_t n = 0;
        std::uint64_t bytes = 0;
        for (; first + n < records.size() && bytes < slice_bytes; ++n)
            bytes += records[first + n].bytes();
        const std::function<void(std::size_t)> sum = [&](std::size_t i) {
            outgoing& record = records[first + i];
            record.payload_checksum = segment::checksum(record.payload);
        };
        if (bytes <= inline_checksum_bytes) {
            for (std::size_t i = 0; i < n; ++i)
                sum(i);
        } else {
            co_await disk_->for_each(n, 1, sum);
        }
        const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
        if (closed_ || state.cancelled() != asio::cancellation_type::none)
            break; // and some have no checksum
        for (std::size_t i = 0; i < n; ++i)
            writer_.enqueue(records[first + i], call, shared_from_this());
        first += n;
    }
}

// ---- the rest ----

asio::awaitable<bitmap> segment_adapter::impl::erase(std::span<const object_key> keys)
{
    const operation running{shared_from_this()};
    const asio::any_io_executor here = co_await asio::this_coro::executor;
    const bitmap erased = log_.erase(keys);

    std::deque<outgoing> records;
    std::size_t room = 0; // in the last one
    erased.for_each_set([&](std::size_t i) {
        const std::size_t cost = segment::key_cost(keys[i]);
        if (cost > room) {
            records.emplace_back().kind = segment::record_kind::erased;
            room = segment::key_room;
        }
        records.back().keys.push_back(keys[i]);
        room -= cost;
    });
    segment::store_call call{here};
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    co_await asio::this_coro::throw_if_cancelled(false);
    asio::awaitable<void> written = writer_.finish(call);
    for (outgoing& record : records)
        writer_.enqueue(record, call, shared_from_this());
    co_await std::move(written);
    co_await asio::this_coro::throw_if_cancelled(throws);
    co_return erased;
}

asio::awaitable<std::vector<stored_object>> segment_adapter::impl::lock_victims(std::uint64_t objects,
                                                                                std::uint64_t bytes)
{
    const operation running{shared_from_this()};
    co_return log_.lock_victims(objects, bytes);
}

asio::awaitable<key_page> segment_adapter::impl::list(list_cursor cursor)
{
    const operation running{shared_from_this()};
    co_return log_.list(cursor);
}

adapter_status segment_adapter::impl::status() const
{
    adapter_status now;
    now.name = "segment:" + options_.place.string();
    now.backend = disk_->backend();
    now.in_flight = in_flight_;
    log_.describe(now);
    health_.describe(now);
    return now;
}

asio::awaitable<void> segment_adapter::impl::close()
{
    const auto self = shared_from_this();
    closed_ = true;
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await writer_.finish();
    const std::function<void(std::size_t)> leave = [&](std::size_t) {
        if (const auto failed = log_.close())
            health_.note_problem(fmt::format("writing the snapshot: {}", failed.message()));
    };
    co_await disk_->for_each(1, 1, leave);
    co_await disk_->close();
    co_await asio::this_coro::throw_if_cancelled(throws);
}

// ---- the door ----

segment_adapter::segment_adapter(segment_options options) : impl_{std::make_shared<impl>(std::move(options))} {}

segment_adapter::~segment_adapter()
{
    impl_->stop();
}

asio::awaitable<bitmap> segment_adapter::lookup_and_lock(std::span<const object_key> keys)
{
    check(keys);
    return impl_->lookup_and_lock(keys);
}

asio::awaitable<bitmap> segment_adapter::load(std::span<const load_item> items)
{
    check(items);
    return impl_->load(items);
}

asio::awaitable<bitmap> segment_adapter::store(std::span<const store_item> items)
{
    check(items);
    return impl_->store(items);
}

asio::awaitable<void> segment_adapter::unlock(std::span<const object_key> keys)
{
    return impl_->unlock(keys);
}

asio::awaitable<bitmap> segment_adapter::erase(std::span<const object_key> keys)
{
    check(keys);
    return impl_->erase(keys);
}

asio::awaitable<std::vector<stored_object>> segment_adapter::lock_victims(std::uint64_t objects, std::uint64_t bytes)
{
    return impl_->lock_victims(objects, bytes);
}

asio::awaitable<key_page> segment_adapter::list(list_cursor cursor)
{
    return impl_->list(std::move(cursor));
}

void segment_adapter::use_memory(std::span<std::byte> l1)
{
    impl_->use_memory(l1);
}

adapter_status segment_adapter::status() const
{
    return impl_->status();
}

asio::awaitable<void> segment_adapter::close()
{
    return impl_->close();
}

} // namespace terrace
