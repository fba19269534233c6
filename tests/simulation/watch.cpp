#include "simulation/watch.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>
#include <utility>

namespace terrace::simulation {
namespace {

std::uint64_t bytes_in(const auto& items)
{
    return std::accumulate(items.begin(), items.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const auto& item) { return sum + item.bytes.size(); });
}

bool overlap(std::span<const std::byte> a, std::span<const std::byte> b)
{
    return std::less<>{}(a.data(), b.data() + b.size()) && std::less<>{}(b.data(), a.data() + a.size());
}

} // namespace

bool buffers_in_use::free_for(std::span<const std::byte> bytes, use how) const
{
    return std::ranges::none_of(in_use_, [&](const auto& other) {
        return (how == use::writes || other.second == use::writes) && overlap(bytes, other.first);
    });
}

// ---- the watch -------------------------------------------------------------------------------------------------

std::size_t watch::locks() const
{
    return std::accumulate(locks_.begin(), locks_.end(), std::size_t{0},
                           [](std::size_t sum, const auto& of) { return sum + of.second; });
}

std::uint64_t watch::stored_as(std::uint32_t n) const
{
    const auto known = stored_as_.find(n);
    return known == stored_as_.end() ? 0 : known->second;
}

void watch::begins(const char* what)
{
    ++in_flight_;
    if (closed_)
        complain(fmt::format("an adapter has been closed, and gets a {}", what));
}

std::size_t watch::in_time(const std::multiset<clock::time_point>& begun, nanoseconds timeout) const
{
    return static_cast<std::size_t>(std::distance(begun.upper_bound(context_.time.now() - timeout), begun.end()));
}

void watch::check_batch(const auto& items, auto&& key_of, const char* what)
{
    std::set<std::uint32_t> numbers;
    for (const auto& item : items)
        if (!numbers.insert(truth::number(key_of(item))).second)
            complain(fmt::format("an adapter is to {} object {} twice in one call", what, *numbers.rbegin()));
    if (numbers.empty())
        complain(fmt::format("an adapter is to {} nothing", what));
}

void watch::looks_up(std::span<const object_key> keys)
{
    ++lookups_;
    check_batch(keys, std::identity{}, "look up");
}

void watch::locked(std::span<const object_key> keys, const bitmap& which)
{
    if (which.size() == keys.size()) // else it says nothing
        which.for_each_set([&](std::size_t i) { ++locks_[truth::number(keys[i])]; });
}

void watch::locked(std::span<const stored_object> victims)
{
    for (const stored_object& victim : victims)
        ++locks_[truth::number(victim.key)];
}

void watch::unlocks(std::span<const object_key> keys)
{
    check_batch(keys, std::identity{}, "unlock");
    for (const object_key& key : keys) {
        const std::uint32_t n = truth::number(key);
        std::size_t& locks = locks_[n];
        if (locks == 0)
            return complain(fmt::format("an adapter is to unlock object {}, which has no lock", n));
        if (--locks < loading_[n])
            complain(fmt::format("object {} is unlocked while it is being loaded", n));
    }
}

void watch::stored(std::span<const store_item> items, const bitmap& which)
{
    if (which.size() == items.size())
        which.for_each_set(
            [&](std::size_t i) { stored_as_[truth::number(items[i].key)] = items[i].layout.fingerprint(); });
}

void watch::closes()
{
    if (std::exchange(closed_, true))
        complain("an adapter is closed twice");
    if (in_flight_ != 0)
        complain(fmt::format("an adapter is closed with {} calls in progress", in_flight_));
    locks_.clear(); // they end with it
}

watch::loading::loading(watch& of, std::span<const load_item> items) : of_{of}
{
    of_.begins("load");
    of_.check_batch(
        items, [](const load_item& item) { return item.key; }, "load");
    if (items.size() > 1 && bytes_in(items) > of_.context_.load_window_bytes)
        of_.complain(fmt::format("a load of {} bytes; expected at most a window's", bytes_in(items)));
    for (const load_item& item : items) {
        const std::uint32_t n = truth::number(item.key);
        numbers_.push_back(n);
        if (++of_.loading_[n] > of_.locks_[n])
            of_.complain(fmt::format("object {} is loaded without a lock", n));
        if (item.bytes.size() != item.layout.size_bytes())
            of_.complain(fmt::format("object {} is loaded into {} bytes", n, item.bytes.size()));
        if (!of_.context_.buffers.free_for(item.bytes, buffers_in_use::use::writes))
            of_.complain(fmt::format("object {} is loaded into memory that another call works with", n));
        buffers_.push_back(of_.context_.buffers.add(item.bytes, buffers_in_use::use::writes));
    }
    begun_ = of_.loads_.insert(of_.context_.time.now());
}

watch::loading::~loading()
{
    of_.loads_.erase(begun_);
    for (const std::uint32_t n : numbers_)
        --of_.loading_[n];
    for (const auto& buffer : buffers_)
        of_.context_.buffers.remove(buffer);
    --of_.in_flight_;
}

watch::storing::storing(watch& of, std::span<const store_item> items) : of_{of}, items_{items}
{
    of_.begins("store");
    of_.check_batch(
        items, [](const store_item& item) { return item.key; }, "store");
    const adapter_options& options = of_.options_;
    if (!of_.context_.demotes) {
        if (items.size() > 1 && bytes_in(items) > options.store_window_bytes)
            of_.complain(fmt::format("a store of {} bytes; expected at most a window's", bytes_in(items)));
        const bool loads = of_.in_time(of_.loads_, options.load_timeout) != 0;
        const std::size_t most =
            loads ? std::min(options.stores_in_flight, options.stores_beside_loads) : options.stores_in_flight;
        if (of_.in_time(of_.stores_, options.store_timeout) >= most)
            of_.complain(fmt::format("an adapter gets more than {} stores at a time", most));
    }
    check_bytes("begins");
    for (const store_item& item : items) {
        versions_.push_back(truth::version(item.bytes));
        if (!of_.context_.buffers.free_for(item.bytes, buffers_in_use::use::reads))
            of_.complain("an object is stored out of memory that is being loaded into");
        if (item.mode == store_mode::if_absent && of_.context_.known.overwrites(versions_.back()))
            of_.complain("an overwrite is stored only where there is nothing to overwrite");
        buffers_.push_back(of_.context_.buffers.add(item.bytes, buffers_in_use::use::reads));
    }
    begun_ = of_.stores_.insert(of_.context_.time.now());
}

watch::storing::~storing()
{
    check_bytes("ends");
    for (std::size_t i = 0; i < versions_.size(); ++i)
        if (truth::version(items_[i].bytes) != versions_[i])
            of_.complain(fmt::format("object {} changed while it was being stored", truth::number(items_[i].key)));
    of_.stores_.erase(begun_);
    for (const auto& buffer : buffers_)
        of_.context_.buffers.remove(buffer);
    --of_.in_flight_;
}

void watch::storing::check_bytes(const char* when) const
{
    for (const store_item& item : items_)
        if (const auto problem = of_.context_.known.problem(item.key, item.bytes, &item.layout); !problem.empty())
            of_.complain(fmt::format("when its store {}, {}", when, problem));
}

// ---- the adapter -----------------------------------------------------------------------------------------------

namespace {

class watched_adapter final : public l2_adapter, public demotion_source {
public:
    watched_adapter(std::unique_ptr<l2_adapter> wrapped, std::shared_ptr<watch> by)
        : wrapped_{std::move(wrapped)},
          source_{dynamic_cast<demotion_source&>(*wrapped_)},
          by_{std::move(by)}
    {
    }

    asio::awaitable<bitmap> lookup_and_lock(std::span<const object_key> keys) override
    {
        const watch::calling running{*by_, "lookup"};
        by_->looks_up(keys);
        bitmap found = co_await wrapped_->lookup_and_lock(keys);
        by_->locked(keys, found);
        co_return found;
    }

    asio::awaitable<bitmap> load(std::span<const load_item> items) override
    {
        const watch::loading running{*by_, items};
        co_return co_await wrapped_->load(items);
    }

    asio::awaitable<bitmap> store(std::span<const store_item> items) override
    {
        const watch::storing running{*by_, items};
        bitmap stored = co_await wrapped_->store(items);
        by_->stored(items, stored);
        co_return stored;
    }

    asio::awaitable<void> unlock(std::span<const object_key> keys) override
    {
        const watch::calling running{*by_, "unlock"};
        by_->unlocks(keys);
        co_await wrapped_->unlock(keys);
    }

    asio::awaitable<std::vector<stored_object>> lock_victims(std::uint64_t objects, std::uint64_t bytes) override
    {
        const watch::calling running{*by_, "lock_victims"};
        auto victims = co_await source_.lock_victims(objects, bytes);
        by_->locked(victims);
        co_return victims;
    }

    asio::awaitable<bitmap> erase(std::span<const object_key> keys) override
    {
        const watch::calling running{*by_, "erase"};
        co_return co_await wrapped_->erase(keys);
    }

    asio::awaitable<key_page> list(list_cursor cursor) override { return wrapped_->list(std::move(cursor)); }
    [[nodiscard]] adapter_status status() const override { return wrapped_->status(); }

    asio::awaitable<void> close() override
    {
        by_->closes();
        co_await wrapped_->close();
    }

private:
    const std::unique_ptr<l2_adapter> wrapped_;
    demotion_source& source_;
    const std::shared_ptr<watch> by_;
};

} // namespace

std::unique_ptr<l2_adapter> make_watched_adapter(std::unique_ptr<l2_adapter> wrapped, std::shared_ptr<watch> by)
{
    return std::make_unique<watched_adapter>(std::move(wrapped), std::move(by));
}

} // namespace terrace::simulation
