#include "conformance/world.hpp"

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <cstring>

namespace terrace::conformance {
namespace {

constexpr std::byte poison_byte{0xA5};

std::vector<memory_layout> layouts_of(std::size_t objects, std::size_t bytes)
{
    return std::vector<memory_layout>(objects, memory_layout::bytes(bytes));
}

} // namespace

object_key key(std::uint64_t n)
{
    return object_key{"model", chunk_hash::from_number(n)};
}

std::vector<object_key> keys(std::initializer_list<std::uint64_t> numbers)
{
    std::vector<object_key> made;
    for (const std::uint64_t n : numbers)
        made.push_back(key(n));
    return made;
}

std::vector<object_key> key_range(std::uint64_t first, std::size_t count)
{
    std::vector<object_key> made;
    for (std::size_t i = 0; i < count; ++i)
        made.push_back(key(first + i));
    return made;
}

bitmap bits(std::string_view digits)
{
    bitmap made{digits.size()};
    for (std::size_t i = 0; i < digits.size(); ++i)
        made.set(i, digits[i] == '1');
    return made;
}

buffer content(const object_key& k, std::size_t bytes, std::uint64_t version)
{
    buffer made(bytes);
    std::uint64_t state = k.hash_code() + version * 0x9e3779b97f4a7c15U;
    for (std::size_t at = 0; at < bytes; at += sizeof state) {
        state += 0x9e3779b97f4a7c15U; // SplitMix64
        std::uint64_t word = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9U;
        word = (word ^ (word >> 27)) * 0x94d049bb133111ebU;
        word ^= word >> 31;
        std::memcpy(made.data() + at, &word, std::min(sizeof word, bytes - at));
    }
    return made;
}

payloads::payloads(std::vector<object_key> keys, std::size_t bytes, std::uint64_t version)
    : keys_{std::move(keys)},
      layouts_{layouts_of(keys_.size(), bytes)}
{
    for (const object_key& k : keys_)
        buffers_.push_back(content(k, bytes, version));
}

payloads::payloads(std::vector<object_key> keys, std::vector<memory_layout> layouts)
    : keys_{std::move(keys)},
      layouts_{std::move(layouts)}
{
    for (const memory_layout& layout : layouts_)
        buffers_.emplace_back(layout.size_bytes(), poison_byte);
}

std::vector<store_item> payloads::to_store(store_mode mode) const
{
    std::vector<store_item> items;
    for (std::size_t i = 0; i < keys_.size(); ++i)
        items.emplace_back(keys_[i], layouts_[i], buffers_[i], mode);
    return items;
}

std::vector<load_item> payloads::to_load()
{
    std::vector<load_item> items;
    for (std::size_t i = 0; i < keys_.size(); ++i)
        items.emplace_back(keys_[i], layouts_[i], buffers_[i]);
    return items;
}

bool payloads::holds(std::size_t i, std::uint64_t version) const
{
    return buffers_.at(i) == content(keys_.at(i), buffers_.at(i).size(), version);
}

void payloads::poison()
{
    for (buffer& bytes : buffers_)
        std::ranges::fill(bytes, poison_byte);
}

bool payloads::still_poisoned() const
{
    return std::ranges::all_of(buffers_, [](const buffer& bytes) {
        return std::ranges::all_of(bytes, [](std::byte b) { return b == poison_byte; });
    });
}

payloads blank(std::vector<object_key> keys, std::size_t bytes)
{
    auto layouts = layouts_of(keys.size(), bytes);
    return {std::move(keys), std::move(layouts)};
}

bool is_aborted(const std::exception_ptr& error)
{
    try {
        std::rethrow_exception(error);
    } catch (const boost::system::system_error& e) {
        return e.code() == asio::error::operation_aborted;
    } catch (...) {
        return false;
    }
}

world::world(const subject& s, std::uint64_t capacity)
    : about{s},
      capacity_bytes{capacity},
      where{s.make_place()},
      adapter{where->open(capacity_bytes)}
{
}

world::~world() = default;

void world::reopen()
{
    adapter.reset();
    adapter = where->open(capacity_bytes);
}

void world::finish()
{
    io.restart();
    io.run();
}

bitmap world::put(std::vector<object_key> which, std::size_t bytes, std::uint64_t version, store_mode mode)
{
    const payloads objects{std::move(which), bytes, version};
    const auto items = objects.to_store(mode);
    bitmap stored = run(adapter->store(items));
    CHECK(stored.size() == items.size());
    return stored;
}

bitmap world::get(std::vector<object_key> which, std::size_t bytes, std::uint64_t version)
{
    auto buffers = blank(std::move(which), bytes);
    const auto items = buffers.to_load();
    bitmap loaded = run(adapter->load(items));
    CHECK(loaded.size() == items.size());
    loaded.for_each_set([&](std::size_t i) { CHECK(buffers.holds(i, version)); });
    return loaded;
}

bitmap world::get(std::vector<object_key> which, const memory_layout& layout)
{
    std::vector<memory_layout> layouts(which.size(), layout);
    payloads buffers{std::move(which), std::move(layouts)};
    const auto items = buffers.to_load();
    bitmap loaded = run(adapter->load(items));
    loaded.for_each_set([&](std::size_t i) { CHECK(buffers.holds(i)); });
    return loaded;
}

bitmap world::lookup(std::vector<object_key> which)
{
    bitmap found = run(adapter->lookup_and_lock(which));
    CHECK(found.size() == which.size());
    return found;
}

bitmap world::find(std::vector<object_key> which)
{
    bitmap found = lookup(which);
    unlock(gather<std::vector<object_key>>(std::span<const object_key>{which}, found));
    return found;
}

void world::unlock(std::vector<object_key> which)
{
    run(adapter->unlock(which));
}

bitmap world::erase(std::vector<object_key> which)
{
    bitmap erased = run(adapter->erase(which));
    CHECK(erased.size() == which.size());
    return erased;
}

std::vector<object_key> world::list(std::size_t page_size)
{
    std::vector<object_key> seen;
    std::optional<list_cursor> next{list_cursor{"", page_size}};
    while (next) {
        const key_page page = run(adapter->list(*next));
        CHECK(page.keys.size() <= page_size);
        seen.insert(seen.end(), page.keys.begin(), page.keys.end());
        next = page.next;
    }
    return seen;
}

asio::awaitable<bool> world::with_value(asio::awaitable<void> work)
{
    co_await std::move(work);
    co_return true;
}

void check_at_rest(const world& w)
{
    const adapter_status status = w.status();
    CHECK(status.in_flight == 0);
    CHECK(status.locked_objects == 0);
}

} // namespace terrace::conformance
