#include "support/scripted_adapter.hpp"

#include <algorithm>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstring>

namespace terrace::test {

void gate::open()
{
    shut_ = false;
    while (!line_.empty())
        let_one_pass();
}

void gate::let_one_pass()
{
    auto first = std::move(line_.front());
    line_.pop_front();
    auto executor = asio::get_associated_executor(first);
    executor.execute([first = std::move(first)]() mutable { std::move(first)(); });
}

asio::awaitable<void> gate::pass()
{
    if (!shut_)
        co_return;
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
        [this](auto handler) { line_.push_back(std::move(handler)); }, asio::use_awaitable);
}

namespace {

struct running {
    explicit running(int& n) : count{n} { ++count; }
    ~running() { --count; }
    running(const running&) = delete;
    running& operator=(const running&) = delete;
    int& count;
};

} // namespace

int scripted_adapter::script::total_locks() const
{
    int n = 0;
    for (const auto& [key, count] : locks)
        n += count;
    return n;
}

asio::awaitable<bitmap> scripted_adapter::lookup_and_lock(std::span<const object_key> keys)
{
    auto s = s_;
    running call{s->in_flight};
    ++s->lookup_calls;
    for (const object_key& key : keys)
        s->looked_up.push_back(key.to_string());
    co_await s->lookups.pass();
    if (s->lookup_throws)
        throw std::runtime_error("scripted: lookup");
    if (s->wrong_size)
        co_return bitmap{keys.size() + 1, true};
    bitmap found{keys.size()};
    for (std::size_t i = 0; i < keys.size(); ++i)
        if (s->objects.contains(keys[i].to_string())) {
            ++s->locks[keys[i].to_string()];
            found.set(i);
        }
    co_return found;
}

asio::awaitable<bitmap> scripted_adapter::load(std::span<const load_item> items)
{
    auto s = s_;
    running call{s->in_flight};
    ++s->load_calls;
    for (const load_item& item : items)
        s->loaded.push_back(item.key.to_string());
    co_await s->loads.pass();
    if (s->load_throws)
        throw std::runtime_error("scripted: load");
    if (s->wrong_size)
        co_return bitmap{items.size() + 1, true};
    bitmap loaded{items.size()};
    for (std::size_t i = 0; i < items.size(); ++i) {
        const auto name = items[i].key.to_string();
        auto it = s->objects.find(name);
        // A failed load leaves anything at all in the buffer.
        std::ranges::fill(items[i].bytes, std::byte{0xee});
        if (it == s->objects.end() || s->broken.contains(name) || it->second.size() != items[i].bytes.size())
            continue;
        std::memcpy(items[i].bytes.data(), it->second.data(), it->second.size());
        loaded.set(i);
    }
    co_return loaded;
}

asio::awaitable<bitmap> scripted_adapter::store(std::span<const store_item> items)
{
    auto s = s_;
    running call{s->in_flight};
    ++s->store_calls;
    co_await s->stores.pass();
    if (s->store_throws)
        throw std::runtime_error("scripted: store");
    if (s->wrong_size)
        co_return bitmap{items.size() + 1, true};
    bitmap stored{items.size()};
    for (std::size_t i = 0; i < items.size(); ++i) {
        const auto name = items[i].key.to_string();
        if (s->unstorable.contains(name))
            continue;
        s->objects[name] = {items[i].bytes.begin(), items[i].bytes.end()};
        s->stored.push_back(name);
        if (items[i].mode == store_mode::replace)
            s->replaced.push_back(name);
        stored.set(i);
    }
    co_return stored;
}

asio::awaitable<void> scripted_adapter::unlock(std::span<const object_key> keys)
{
    auto s = s_;
    running call{s->in_flight};
    ++s->unlock_calls;
    co_await s->unlocks.pass();
    for (const object_key& key : keys)
        --s->locks[key.to_string()];
    if (s->unlock_throws)
        throw std::runtime_error("scripted: unlock");
}

asio::awaitable<bitmap> scripted_adapter::erase(std::span<const object_key> keys)
{
    bitmap erased{keys.size()};
    for (std::size_t i = 0; i < keys.size(); ++i)
        erased.set(i, s_->objects.erase(keys[i].to_string()) != 0);
    co_return erased;
}

asio::awaitable<key_page> scripted_adapter::list(list_cursor)
{
    key_page page;
    for (const auto& [name, bytes] : s_->objects)
        page.keys.push_back(object_key::parse(name).value());
    co_return page;
}

adapter_status scripted_adapter::status() const
{
    adapter_status status;
    status.name = "scripted:";
    status.objects = s_->objects.size();
    status.in_flight = static_cast<std::uint64_t>(s_->in_flight);
    status.corrupt_objects = s_->corrupt_objects;
    return status;
}

asio::awaitable<void> scripted_adapter::close()
{
    auto s = s_;
    ++s->close_calls;
    co_await s->closing.pass();
    if (s->close_throws)
        throw std::runtime_error("scripted: close");
    s->closed = true;
}

} // namespace terrace::test
