// Calls run beside each other, on one executor and on whatever threads the adapter has.

#include "conformance/world.hpp"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

using namespace terrace;
using namespace terrace::conformance;

namespace {

/// Runs all to their ends, and lets out what the first of them threw.
void finish_all(world& w, std::vector<call<bool>>& running)
{
    w.finish();
    for (auto& r : running)
        r.take();
}

} // namespace

TEST_CASE("a load beside stores of its key sees one version, whole")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        constexpr std::uint64_t versions = 30;
        const std::vector<object_key> one = keys({1});
        std::size_t bytes = 0;
        SUBCASE("of one byte more than a block")
        {
            bytes = 4097;
        }
        SUBCASE("of half a megabyte")
        {
            bytes = 512 * 1024;
        }
        w.put(one, bytes, 0);

        std::uint64_t finished = 0; // every version before this one was replaced before the load began
        bool done = false;
        std::uint64_t loads = 0;
        const auto keep_storing = [&]() -> asio::awaitable<void> {
            for (std::uint64_t version = 1; version <= versions; ++version) {
                const payloads objects{one, bytes, version};
                const auto items = objects.to_store();
                const bitmap stored = co_await w.adapter->store(items);
                CHECK(stored.all());
                finished = version;
            }
            done = true;
        };
        const auto keep_loading = [&]() -> asio::awaitable<void> {
            do {
                auto buffers = blank(one, bytes);
                const auto items = buffers.to_load();
                const std::uint64_t oldest = finished;
                const bitmap loaded = co_await w.adapter->load(items);
                CHECK(loaded.all()); // there is no moment without an object
                bool whole = false;
                for (std::uint64_t version = oldest; version <= versions && !whole; ++version)
                    whole = buffers.holds(0, version);
                CHECK_MESSAGE(whole, "neither version ", oldest, " nor a later one");
                ++loads;
            } while (!done);
        };
        std::vector<call<bool>> running;
        running.push_back(w.start(keep_storing()));
        for (int i = 0; i < 3; ++i)
            running.push_back(w.start(keep_loading()));
        finish_all(w, running);
        CHECK(loads >= 3);
        CHECK(w.get(one, bytes, versions).all());
        CHECK(w.status().corrupt_objects == 0);
        CHECK(w.status().objects == 1);
        check_at_rest(w);
    }
}

TEST_CASE("stores of one key that meet leave one of their versions, whole")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        constexpr std::size_t bytes = 64 * 1024;
        constexpr std::uint64_t writers = 8;
        for (int round = 0; round < 10; ++round) {
            const auto store_version = [&w](std::uint64_t version) -> asio::awaitable<void> {
                const payloads objects{keys({1}), bytes, version};
                const auto items = objects.to_store();
                const bitmap stored = co_await w.adapter->store(items);
                CHECK(stored.all());
            };
            std::vector<call<bool>> running;
            for (std::uint64_t version = 0; version < writers; ++version)
                running.push_back(w.start(store_version(version)));
            finish_all(w, running);

            auto buffers = blank(keys({1}), bytes);
            const auto items = buffers.to_load();
            CHECK(w.run(w.adapter->load(items)).all());
            std::uint64_t whole = 0;
            for (std::uint64_t version = 0; version < writers; ++version)
                whole += buffers.holds(0, version) ? 1 : 0;
            CHECK(whole == 1);
        }
        CHECK(w.status().objects == 1);
        CHECK(w.status().used_bytes >= adapter.charge(bytes));
        CHECK(w.status().corrupt_objects == 0);
        CHECK(w.list().size() == 1);
        check_at_rest(w);
    }
}

TEST_CASE("an object that is erased or changes its size beside its loads is whole or a miss")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        constexpr std::size_t bytes = 256 * 1024;
        const std::vector<object_key> one = keys({1});
        bool done = false;
        const auto keep_changing = [&]() -> asio::awaitable<void> {
            for (int round = 0; round < 20; ++round) {
                const payloads objects{one, bytes};
                const auto items = objects.to_store();
                co_await w.adapter->store(items);
                if (round % 2 == 0) {
                    co_await w.adapter->erase(one);
                } else {
                    const payloads other{one, 2 * bytes};
                    const auto other_items = other.to_store();
                    co_await w.adapter->store(other_items);
                }
            }
            done = true;
        };
        const auto keep_loading = [&](std::size_t size) -> asio::awaitable<void> {
            do {
                auto buffers = blank(one, size);
                const auto items = buffers.to_load();
                const bitmap loaded = co_await w.adapter->load(items);
                if (loaded.any())
                    CHECK(buffers.holds(0));
            } while (!done);
        };
        std::vector<call<bool>> running;
        running.push_back(w.start(keep_changing()));
        running.push_back(w.start(keep_loading(bytes)));
        running.push_back(w.start(keep_loading(2 * bytes)));
        finish_all(w, running);

        CHECK(w.put(one, bytes).all());
        CHECK(w.get(one, bytes).all());
        CHECK(w.status().objects == 1);
        check_at_rest(w);
    }
}

TEST_CASE("hundreds of calls at once do what each would do alone")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        constexpr std::uint64_t callers = 100;
        const auto live = [&w](std::uint64_t me) -> asio::awaitable<void> {
            std::mt19937_64 random{me};
            std::vector<object_key> mine = key_range(1000 * me, 1 + me % 5);
            const std::size_t bytes = 1 + random() % 20'000;
            for (std::uint64_t version = 0; version < 5; ++version) {
                const payloads objects{mine, bytes, version};
                const auto stores = objects.to_store();
                const bitmap stored = co_await w.adapter->store(stores);
                CHECK(stored.all());
                const bitmap found = co_await w.adapter->lookup_and_lock(mine);
                CHECK(found.all());
                auto buffers = blank(mine, bytes);
                const auto loads = buffers.to_load();
                const bitmap loaded = co_await w.adapter->load(loads);
                CHECK(loaded.all());
                for (std::size_t i = 0; i < mine.size(); ++i)
                    CHECK(buffers.holds(i, version));
                const bitmap refused = co_await w.adapter->erase(mine);
                CHECK(refused.none());
                co_await w.adapter->unlock(mine);
                if (version % 2 == 0) {
                    const bitmap erased = co_await w.adapter->erase(mine);
                    CHECK(erased.all());
                    const bitmap gone = co_await w.adapter->lookup_and_lock(mine);
                    CHECK(gone.none());
                }
            }
        };
        std::vector<call<bool>> running;
        for (std::uint64_t me = 0; me < callers; ++me)
            running.push_back(w.start(live(me)));
        finish_all(w, running);
        CHECK(w.status().objects == 0);
        CHECK(w.status().used_bytes == 0);
        CHECK(w.status().corrupt_objects == 0);
        CHECK(w.list().empty());
        check_at_rest(w);
    }
}

TEST_CASE("status() answers other threads while calls run")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        std::atomic<bool> done = false;
        std::atomic<std::uint64_t> nonsense = 0;
        const auto ask = [&] {
            do {
                const adapter_status status = w.status();
                if (status.objects > 40 || status.locked_objects > 40 || status.in_flight > 4 || status.name.empty())
                    ++nonsense;
            } while (!done);
        };
        std::jthread first{ask};
        std::jthread second{ask};
        const auto work = [&w](std::uint64_t me) -> asio::awaitable<void> {
            const auto mine = key_range(100 * me, 10);
            for (std::uint64_t version = 0; version < 10; ++version) {
                const payloads objects{mine, 5000, version};
                const auto stores = objects.to_store();
                co_await w.adapter->store(stores);
                co_await w.adapter->lookup_and_lock(mine);
                auto buffers = blank(mine, 5000);
                const auto loads = buffers.to_load();
                co_await w.adapter->load(loads);
                co_await w.adapter->unlock(mine);
                const list_cursor from_start;
                co_await w.adapter->list(from_start);
                co_await w.adapter->erase(mine);
            }
        };
        std::vector<call<bool>> running;
        for (std::uint64_t me = 0; me < 4; ++me)
            running.push_back(w.start(work(me)));
        finish_all(w, running);
        done = true;
        first.join();
        second.join();
        CHECK(nonsense == 0);
        check_at_rest(w);
    }
}
