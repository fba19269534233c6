#include "store_adapter.hpp"

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <stdexcept>

using namespace terrace;

namespace {

/// Counts a call for as long as its coroutine lives.
class counted_call {
public:
    explicit counted_call(std::atomic<std::uint64_t>& calls) : calls_{calls} { ++calls_; }
    ~counted_call() { --calls_; }
    counted_call(const counted_call&) = delete;
    counted_call& operator=(const counted_call&) = delete;

private:
    std::atomic<std::uint64_t>& calls_;
};

} // namespace

store_adapter::store_adapter(std::shared_ptr<blocking_store> store, std::uint64_t capacity_bytes, std::size_t threads)
    : store_{std::move(store)},
      index_{capacity_bytes},
      threads_{threads}
{
    if (store_ == nullptr)
        throw std::invalid_argument("store_adapter: the store is null; expected one");
    if (threads == 0)
        throw std::invalid_argument("store_adapter: threads is 0; expected at least 1");
    for (std::size_t i = 0; i < 4 * threads; ++i) // more than threads, so that few keys share one
        strands_.push_back(asio::make_strand(threads_));
    for (const auto& [name, label] : store_->list())
        if (const auto key = object_key::parse(name)) // what others keep there is none of ours
            index_.restore(*key, label.bytes);
}

store_adapter::~store_adapter()
{
    threads_.join();
}

// ---- to the threads and back --------------------------------------------------------------------------------------

// [batch]
/// One call of for_each(). Its jobs share it, and the last one sends the answer home.
struct store_adapter::batch {
    using completion = asio::any_completion_handler<void(std::exception_ptr)>;
    batch(std::size_t items, asio::any_io_executor h, completion a)
        : done(items),
          left{items},
          answer{std::move(a)},
          home{std::move(h)}
    {
    }

    std::vector<char> done; // one for each item: what its job returned. Not bits, which threads would share
    std::atomic<std::size_t> left;
    std::atomic<bool> cancelled = false;
    std::atomic<bool> failed = false;
    std::exception_ptr failure; // written by the first to fail
    completion answer;
    asio::any_io_executor home; // its work is counted, so that it waits for the answer

    void end_one()
    {
        if (--left != 0)
            return;
        const auto there = asio::prefer(home, asio::execution::outstanding_work.untracked);
        asio::post(there, [counted = std::move(home), reply = std::move(answer), why = std::move(failure)]() mutable {
            asio::get_associated_cancellation_slot(reply).clear();
            std::move(reply)(std::move(why));
        });
    }
};
// [/batch]

// [for-each]
/// Does `work` with each item and answers when the last job has ended, for only then may the buffers go that jobs copy
/// from and to. Cancelled, jobs that have not begun do nothing.
asio::awaitable<bitmap> store_adapter::for_each(std::size_t items, place where, job work)
{
    bitmap answers{items};
    if (items == 0)
        co_return answers;
    const asio::any_io_executor here = co_await asio::this_coro::executor;
    std::shared_ptr<batch> all;
    const auto begin = [&](auto resume) {
        auto home = asio::prefer(here, asio::execution::outstanding_work.tracked);
        all = std::make_shared<batch>(items, std::move(home), std::move(resume));
        if (auto slot = asio::get_associated_cancellation_slot(all->answer); slot.is_connected())
            slot.assign([weak = std::weak_ptr<batch>{all}](asio::cancellation_type) {
                if (const auto running = weak.lock())
                    running->cancelled = true;
            });
        for (std::size_t i = 0; i < items; ++i)
            post(where(i), [all, &work, i] {
                try {
                    if (!all->cancelled && !all->failed)
                        all->done[i] = work(i);
                } catch (...) {
                    if (!all->failed.exchange(true))
                        all->failure = std::current_exception();
                }
                all->end_one();
            });
    };
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void(std::exception_ptr)>(begin, asio::use_awaitable);
    for (std::size_t i = 0; i < items; ++i)
        answers.set(i, all->done[i] != 0);
    co_return answers;
}
// [/for-each]

void store_adapter::post(std::size_t where, std::function<void()> work)
{
    asio::post(strands_[where % strands_.size()], std::move(work));
}

// ---- loads and stores ---------------------------------------------------------------------------------------------

// [load]
asio::awaitable<bitmap> store_adapter::load(std::span<const load_item> items)
{
    const counted_call running{in_flight_};
    const place by_key = [=](std::size_t i) { return items[i].key.hash_code(); };
    const job work = [=, this](std::size_t i) { return load_one(items[i]); };
    bitmap loaded = co_await for_each(items.size(), by_key, work);

    const std::scoped_lock guard{mutex_};
    for (std::size_t i = items.size(); i-- > 0;) // from the tail on: a prompt's head is to be evicted last
        if (loaded.test(i))
            index_.touch(items[i].key);
    co_return loaded;
}

/// On a thread of the pool.
bool store_adapter::load_one(const load_item& item)
{
    if (!has(item.key))
        return false;
    const auto found = store_->get(item.key.to_string(), item.layout.fingerprint(), item.bytes);
    if (found && found->fingerprint == item.layout.fingerprint() && found->bytes == item.bytes.size())
        return true;
    if (found)
        store_->remove(item.key.to_string()); // of another layout: of no use to anybody who asks for this key now
    const std::scoped_lock guard{mutex_};
    index_.erase(item.key);
    counted_.corrupt_objects += found ? 1 : 0;
    return false;
}
// [/load]

asio::awaitable<bitmap> store_adapter::store(std::span<const store_item> items)
{
    const counted_call running{in_flight_};
    const place by_key = [=](std::size_t i) { return items[i].key.hash_code(); };
    const job work = [=, this](std::size_t i) { return store_one(items[i]); };
    bitmap stored = co_await for_each(items.size(), by_key, work);

    const std::scoped_lock guard{mutex_};
    for (std::size_t i = items.size(); i-- > 0;)
        if (stored.test(i))
            index_.make_latest(items[i].key); // the jobs ended in any order
    co_return stored;
}

/// On a thread of the pool.
bool store_adapter::store_one(const store_item& item)
{
    if (item.mode == store_mode::if_absent && kept(item))
        return true;
    if (!make_room(item.bytes.size()))
        return false;
    try {
        store_->put(item.key.to_string(), item.layout.fingerprint(), item.bytes);
    } catch (...) {
        const std::scoped_lock guard{mutex_};
        index_.give_back(item.bytes.size());
        throw;
    }
    const std::scoped_lock guard{mutex_};
    index_.insert(item.key, item.bytes.size());
    return true;
}

/// Whether the object is there already, and stays.
bool store_adapter::kept(const store_item& item)
{
    if (!has(item.key))
        return false;
    const auto there = store_->get(item.key.to_string(), item.layout.fingerprint(), {}); // no bytes: the label alone
    if (!there || there->fingerprint != item.layout.fingerprint())
        return false;
    const std::scoped_lock guard{mutex_};
    ++counted_.kept_objects;
    return true;
}

bool store_adapter::has(const object_key& key) const
{
    const std::scoped_lock guard{mutex_};
    return index_.find(key).has_value();
}

// [room]
/// Takes room in the index, which says what has to go for it: those leave the store on their own strands.
bool store_adapter::make_room(std::uint64_t bytes)
{
    object_index::room room;
    {
        const std::scoped_lock guard{mutex_};
        room = index_.make_room(bytes);
        counted_.evicted_objects += room.evicted.size();
        if (!room.granted) {
            ++counted_.failed_stores;
            counted_.problem = "full: nothing that could make room may be evicted";
        }
    }
    for (const object_key& evicted : room.evicted)
        post(evicted.hash_code(), [this, evicted] { forget(evicted); });
    return room.granted;
}

void store_adapter::forget(const object_key& evicted)
{
    if (has(evicted))
        return; // stored again in the meantime
    try {
        store_->remove(evicted.to_string());
    } catch (const std::exception& error) { // nobody waits for this
        const std::scoped_lock guard{mutex_};
        counted_.problem = error.what();
    }
}
// [/room]

// ---- the rest -----------------------------------------------------------------------------------------------------

// [locks]
asio::awaitable<bitmap> store_adapter::lookup_and_lock(std::span<const object_key> keys)
{
    const std::scoped_lock guard{mutex_};
    co_return index_.lock(keys); // what is locked is not evicted until it is unlocked
}

asio::awaitable<void> store_adapter::unlock(std::span<const object_key> keys)
{
    const std::scoped_lock guard{mutex_};
    for (std::size_t i = keys.size(); i-- > 0;)
        index_.unlock(keys[i]);
    co_return;
}
// [/locks]

asio::awaitable<bitmap> store_adapter::erase(std::span<const object_key> keys)
{
    const counted_call running{in_flight_};
    const place by_key = [=](std::size_t i) { return keys[i].hash_code(); };
    const job work = [=, this](std::size_t i) { return erase_one(keys[i]); };
    co_return co_await for_each(keys.size(), by_key, work);
}

/// On a thread of the pool.
bool store_adapter::erase_one(const object_key& key)
{
    {
        const std::scoped_lock guard{mutex_};
        if (index_.locked(key) || !index_.erase(key))
            return false;
    }
    store_->remove(key.to_string());
    return true;
}

asio::awaitable<key_page> store_adapter::list(list_cursor cursor)
{
    const std::scoped_lock guard{mutex_};
    co_return index_.list(cursor);
}

adapter_status store_adapter::status() const
{
    const std::scoped_lock guard{mutex_};
    adapter_status now = counted_;
    now.name = "blocking_store:";
    now.objects = index_.objects();
    now.used_bytes = index_.used_bytes();
    now.capacity_bytes = index_.capacity_bytes();
    now.locked_objects = index_.locked_objects();
    now.in_flight = in_flight_;
    return now;
}

// [close]
asio::awaitable<void> store_adapter::close()
{
    // No other call is running, but what was evicted may still be on its way out of the store. One more job on each
    // strand ends after those before it, and then there is nothing to wait for in join().
    const place each = [](std::size_t i) { return i; };
    const job nothing = [](std::size_t) { return true; };
    co_await for_each(strands_.size(), each, nothing);
    threads_.join();
    const std::scoped_lock guard{mutex_};
    index_.unlock_all();
}
// [/close]
