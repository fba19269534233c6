#include <terrace/memory_adapter.hpp>

#include <boost/asio/this_coro.hpp>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <mutex>

#include <terrace/object_index.hpp>

#include "huge_pages.hpp"

namespace terrace {
namespace {

/// The memory of payloads.
///
/// Threads: any.
class payload_memory {
public:
    [[nodiscard]] std::byte* allocate(std::size_t bytes)
    {
        if (!is_pooled(bytes))
            return static_cast<std::byte*>(pages_.allocate(bytes, alignment));
        std::scoped_lock guard{mutex_};
        return static_cast<std::byte*>(pool_.allocate(bytes, alignment));
    }
    void deallocate(std::byte* memory, std::size_t bytes)
    {
        if (!is_pooled(bytes)) {
            pages_.deallocate(memory, bytes, alignment);
            return;
        }
        std::scoped_lock guard{mutex_};
        pool_.deallocate(memory, bytes, alignment);
    }

private:
    /// What is larger the pool would keep in a sorted list, in time that grows with it, and not pool either.
    [[nodiscard]] bool is_pooled(std::size_t bytes) const
    {
        return bytes <= pool_.options().largest_required_pool_block;
    }

    static constexpr std::size_t alignment = 8; // the pool of gcc 12 does not keep to more for every size

    std::mutex mutex_;
    huge_page_resource pages_;
    std::pmr::unsynchronized_pool_resource pool_{&pages_};
};

/// One stored object. Loads share it, so that erasing or replacing it takes no bytes from under them.
class stored_bytes {
public:
    stored_bytes(payload_memory& memory, std::span<const std::byte> from, std::uint64_t layout_fingerprint)
        : bytes{memory.allocate(from.size())},
          size{from.size()},
          fingerprint{layout_fingerprint},
          memory_{memory}
    {
        std::memcpy(bytes, from.data(), from.size());
    }
    ~stored_bytes() { memory_.deallocate(bytes, size); }
    stored_bytes(const stored_bytes&) = delete;
    stored_bytes& operator=(const stored_bytes&) = delete;

    std::byte* const bytes;
    const std::size_t size;
    const std::uint64_t fingerprint;

private:
    payload_memory& memory_;
};

std::uint64_t total_bytes(const auto& items)
{
    std::uint64_t bytes = 0;
    for (const auto& item : items)
        bytes += item.bytes.size();
    return bytes;
}

} // namespace

class memory_adapter::impl {
public:
    explicit impl(memory_options options)
        : options_{std::move(options)},
          index_{options_.capacity_bytes, eviction_policy::make(options_.eviction, options_.quotas)}
    {
    }

    /// Takes as long as the simulated device would for one call that moves `bytes`.
    asio::awaitable<void> take_time(std::uint64_t bytes)
    {
        if (options_.latency == nanoseconds{0} && (options_.bandwidth_bytes_per_second == 0 || bytes == 0))
            co_return;
        if (options_.clock == nullptr)
            options_.clock = make_system_clock(co_await asio::this_coro::executor);
        const auto clock = options_.clock;
        auto done = clock->now();
        if (options_.bandwidth_bytes_per_second != 0 && bytes != 0) {
            // One wire: a transfer starts when those before it have ended.
            const auto seconds = static_cast<double>(bytes) / static_cast<double>(options_.bandwidth_bytes_per_second);
            wire_free_ = std::max(wire_free_, done) + nanoseconds{static_cast<std::int64_t>(seconds * 1e9)};
            done = wire_free_;
        }
        co_await clock->sleep_until(done + options_.latency);
    }

    bitmap lock_found(std::span<const object_key> keys)
    {
        std::scoped_lock guard{mutex_};
        return index_.lock(keys);
    }

    bool copy_out(const load_item& item)
    {
        std::shared_ptr<const stored_bytes> object;
        {
            std::scoped_lock guard{mutex_};
            object = find(item.key);
            if (object == nullptr)
                return false;
            if (object->fingerprint != item.layout.fingerprint() || object->size != item.bytes.size()) {
                // Stored under another layout: of no use to anybody who asks for this key now.
                ++corrupt_;
                index_.erase(item.key);
                return false;
            }
            index_.touch(item.key);
        }
        std::memcpy(item.bytes.data(), object->bytes, object->size);
        return true;
    }

    bool copy_in(const store_item& item)
    {
        if (item.mode == store_mode::if_absent && keep(item))
            return true;
        auto object = std::make_shared<const stored_bytes>(payloads_, item.bytes, item.layout.fingerprint());
        std::scoped_lock guard{mutex_};
        const object_index::room room = index_.make_room(item.bytes.size());
        evicted_ += room.evicted.size();
        if (!room.granted) {
            ++failed_stores_;
            problem_ = "full: nothing that could make room may be evicted";
            return false;
        }
        index_.insert(item.key, item.bytes.size(), std::move(object));
        return true;
    }

    /// Whether the object is there already, and stays.
    bool keep(const store_item& item)
    {
        std::scoped_lock guard{mutex_};
        const auto object = find(item.key);
        if (object == nullptr || object->fingerprint != item.layout.fingerprint())
            return false;
        index_.touch(item.key);
        ++kept_;
        return true;
    }

    std::vector<stored_object> lock_victims(std::uint64_t bytes)
    {
        std::scoped_lock guard{mutex_};
        std::vector<stored_object> victims;
        for (const auto& victim : index_.lock_victims(bytes)) {
            const auto object = find(victim.key);
            victims.emplace_back(victim.key, memory_layout::known_by(object->size, object->fingerprint));
        }
        return victims;
    }

    void unlock(std::span<const object_key> keys)
    {
        std::scoped_lock guard{mutex_};
        for (std::size_t i = keys.size(); i-- > 0;)
            index_.unlock(keys[i]);
    }

    void unlock_all()
    {
        std::scoped_lock guard{mutex_};
        index_.unlock_all();
    }

    bool erase(const object_key& key)
    {
        std::scoped_lock guard{mutex_};
        return !index_.locked(key) && index_.erase(key);
    }

    key_page list(const list_cursor& cursor)
    {
        std::scoped_lock guard{mutex_};
        return index_.list(cursor);
    }

    adapter_status status() const
    {
        std::scoped_lock guard{mutex_};
        adapter_status s;
        s.name = "memory:";
        s.problem = problem_;
        s.objects = index_.objects();
        s.used_bytes = index_.used_bytes();
        s.capacity_bytes = index_.capacity_bytes();
        s.locked_objects = index_.locked_objects();
        s.in_flight = in_flight_;
        s.evicted_objects = evicted_;
        s.corrupt_objects = corrupt_;
        s.failed_stores = failed_stores_;
        s.kept_objects = kept_;
        return s;
    }

    /// One call in progress.
    class operation {
    public:
        explicit operation(impl& owner) : owner_{owner} { ++owner_.in_flight_; }
        ~operation() { --owner_.in_flight_; }
        operation(const operation&) = delete;
        operation& operator=(const operation&) = delete;

    private:
        impl& owner_;
    };

private:
    /// Under the mutex. Null if there is none.
    [[nodiscard]] std::shared_ptr<const stored_bytes> find(const object_key& key) const
    {
        return std::static_pointer_cast<const stored_bytes>(index_.content(key));
    }

    memory_options options_;
    clock::time_point wire_free_{};
    std::atomic<std::uint64_t> in_flight_ = 0;

    mutable std::mutex mutex_; // status() comes from any thread
    payload_memory payloads_;
    object_index index_; // its contents are stored_bytes
    std::uint64_t evicted_ = 0;
    std::uint64_t corrupt_ = 0;
    std::uint64_t failed_stores_ = 0;
    std::uint64_t kept_ = 0;
    std::string problem_;
};

memory_adapter::memory_adapter(memory_options options) : impl_{std::make_unique<impl>(std::move(options))} {}
memory_adapter::~memory_adapter() = default;

asio::awaitable<bitmap> memory_adapter::lookup_and_lock(std::span<const object_key> keys)
{
    impl::operation running{*impl_};
    co_await impl_->take_time(0);
    co_return impl_->lock_found(keys);
}

asio::awaitable<bitmap> memory_adapter::load(std::span<const load_item> items)
{
    impl::operation running{*impl_};
    co_await impl_->take_time(total_bytes(items));
    bitmap loaded{items.size()};
    for (std::size_t i = items.size(); i-- > 0;) // the tail of a prefix is to go before its head
        loaded.set(i, impl_->copy_out(items[i]));
    co_return loaded;
}

asio::awaitable<bitmap> memory_adapter::store(std::span<const store_item> items)
{
    impl::operation running{*impl_};
    co_await impl_->take_time(total_bytes(items));
    bitmap stored{items.size()};
    for (std::size_t i = items.size(); i-- > 0;) // as above
        stored.set(i, impl_->copy_in(items[i]));
    co_return stored;
}

asio::awaitable<void> memory_adapter::unlock(std::span<const object_key> keys)
{
    impl_->unlock(keys);
    co_return;
}

asio::awaitable<std::vector<stored_object>> memory_adapter::lock_victims(std::uint64_t, std::uint64_t bytes)
{
    impl::operation running{*impl_};
    co_await impl_->take_time(0);
    co_return impl_->lock_victims(bytes);
}

asio::awaitable<bitmap> memory_adapter::erase(std::span<const object_key> keys)
{
    impl::operation running{*impl_};
    co_await impl_->take_time(0);
    bitmap erased{keys.size()};
    for (std::size_t i = 0; i < keys.size(); ++i)
        erased.set(i, impl_->erase(keys[i]));
    co_return erased;
}

asio::awaitable<key_page> memory_adapter::list(list_cursor cursor)
{
    co_return impl_->list(cursor);
}

adapter_status memory_adapter::status() const
{
    return impl_->status();
}

asio::awaitable<void> memory_adapter::close()
{
    impl_->unlock_all();
    co_return;
}

memory_options parse_memory_options(adapter_spec spec)
{
    memory_options options;
    if (!spec.place().empty())
        spec.reject_place("a memory adapter has no place; expected nothing between 'memory:' and '?'");
    options.capacity_bytes = spec.take_bytes("capacity").value_or(0);
    options.eviction = spec.take("eviction").value_or(options.eviction);
    options.latency = spec.take_duration("latency").value_or(nanoseconds{0});
    options.bandwidth_bytes_per_second = spec.take_bytes("bandwidth").value_or(0);
    spec.expect_all_taken();
    (void)eviction_policy::make(options.eviction); // refuses an unknown name
    return options;
}

std::unique_ptr<l2_adapter> make_memory_adapter(adapter_spec spec)
{
    return std::make_unique<memory_adapter>(parse_memory_options(std::move(spec)));
}

} // namespace terrace
