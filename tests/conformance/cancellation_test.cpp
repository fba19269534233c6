// Each operation, cancelled at any moment: it ends, lets go of its buffers, and says what it holds.

#include "conformance/world.hpp"

#include <map>

using namespace terrace;
using namespace terrace::conformance;

namespace {

constexpr std::size_t object_bytes = 100'000;
constexpr std::size_t object_count = 12;

/// Runs what `make` starts again and again, cancelled after 0, 1, 2, ... handlers, until it ends on its own.
///
/// after  gets the call each time, when it has ended
template <class Make, class After>
void cancel_at_any_moment(world& w, Make make, After after)
{
    for (std::size_t handlers = 0;; ++handlers) {
        REQUIRE(handlers < 10'000);
        CAPTURE(handlers);
        auto running = w.start(make());
        w.io.restart();
        for (std::size_t i = 0; i < handlers && !running.ended(); ++i)
            w.io.run_one();
        const bool was_cancelled = !running.ended();
        if (was_cancelled) {
            running.cancel();
            CHECK(!running.ended()); // it ends by way of the executor
        }
        while (!running.ended() && w.io.run_one() != 0) {
            // And no further: what the call may have left to run, runs when its buffers are somebody else's.
        }
        REQUIRE(running.ended());
        CHECK(w.status().in_flight == 0);
        if (running.failed())
            CHECK(running.aborted());
        else if (!was_cancelled)
            CHECK(!running.failed());
        after(running);
        w.finish();
        if (!was_cancelled)
            return;
    }
}

/// All that an adapter does with an object, which nobody has disturbed.
void check_works(world& w)
{
    const auto fresh = key_range(5000, 3);
    CHECK(w.put(fresh, object_bytes).all());
    CHECK(w.lookup(fresh).all());
    CHECK(w.get(fresh, object_bytes).all());
    w.unlock(fresh);
    CHECK(w.erase(fresh).all());
    check_at_rest(w);
}

} // namespace

TEST_CASE("a load that is cancelled lets go of its buffers")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        const auto many = key_range(0, object_count);
        w.put(many, object_bytes);
        std::optional<payloads> buffers;
        std::vector<load_item> items;
        cancel_at_any_moment(
            w,
            [&] {
                buffers.emplace(blank(many, object_bytes));
                items = buffers->to_load();
                return w.adapter->load(items);
            },
            [&](call<bitmap>& ended) {
                if (!ended.failed()) {
                    const bitmap loaded = ended.take();
                    REQUIRE(loaded.size() == many.size());
                    loaded.for_each_set([&](std::size_t i) { CHECK(buffers->holds(i)); });
                }
                buffers->poison();
                CHECK(w.find(many).all()); // others go on
                CHECK(buffers->still_poisoned());
                buffers.reset();
                check_at_rest(w);
            });
        CHECK(w.get(many, object_bytes).all());
        CHECK(w.status().corrupt_objects == 0);
        check_works(w);
    }
}

TEST_CASE("a store that is cancelled has stored whole objects, or none")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        const auto many = key_range(0, object_count);
        std::uint64_t version = 0;
        std::uint64_t there_before = 0; // the keys' latest version that is known, if `known`
        bool known = false;
        SUBCASE("of new keys") {}
        SUBCASE("of keys that are there")
        {
            w.put(many, object_bytes, 0);
            known = true;
        }
        std::optional<payloads> objects;
        std::vector<store_item> items;
        cancel_at_any_moment(
            w,
            [&] {
                objects.emplace(many, object_bytes, ++version);
                items = objects->to_store();
                return w.adapter->store(items);
            },
            [&](call<bitmap>& ended) {
                bitmap stored{many.size()};
                if (!ended.failed())
                    stored = ended.take();
                REQUIRE(stored.size() == many.size());
                objects->poison(); // whoever still reads it would store nonsense
                auto buffers = blank(many, object_bytes);
                const auto loads = buffers.to_load();
                const bitmap loaded = w.run(w.adapter->load(loads));
                for (std::size_t i = 0; i < many.size(); ++i) {
                    if (stored.test(i))
                        CHECK((loaded.test(i) && buffers.holds(i, version)));
                    else if (loaded.test(i))
                        CHECK((buffers.holds(i, version) || (known && buffers.holds(i, there_before))));
                    else
                        CHECK(!known); // a store that fails leaves the old object
                }
                CHECK(w.status().objects == loaded.count());
                CHECK(w.status().corrupt_objects == 0);
                check_at_rest(w);
                objects.reset();
                if (known) {
                    w.put(many, object_bytes, version);
                    there_before = version;
                } else {
                    w.erase(many);
                }
            });
        w.erase(many);
        CHECK(w.status().objects == 0);
        check_works(w);
    }
}

TEST_CASE("a lookup that is cancelled holds the locks that it reports, and no other")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        const auto many = key_range(0, 600); // half of which are not there
        w.put(key_range(0, 300), 16);
        cancel_at_any_moment(
            w, [&] { return w.adapter->lookup_and_lock(many); },
            [&](call<bitmap>& ended) {
                if (!ended.failed()) {
                    const bitmap found = ended.take();
                    CHECK(w.status().locked_objects == found.count());
                    w.unlock(gather<std::vector<object_key>>(std::span{many}, found));
                }
                check_at_rest(w);
            });
        CHECK(w.find(many).count() == 300);
        check_works(w);
    }
}

TEST_CASE("an unlock that is cancelled can be repeated")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        const auto many = key_range(0, object_count);
        w.put(many, 16);
        CHECK(w.lookup(many).all());
        cancel_at_any_moment(
            w, [&] { return w.adapter->unlock(many); },
            [&](call<bool>& ended) {
                if (!ended.failed())
                    CHECK(w.status().locked_objects == 0);
                w.unlock(many); // one lock each at most is left
                check_at_rest(w);
                CHECK(w.lookup(many).all());
            });
        w.unlock(many);
        check_works(w);
    }
}

TEST_CASE("an erase that is cancelled has erased objects, or left them whole")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        const auto many = key_range(0, object_count);
        w.put(many, object_bytes);
        cancel_at_any_moment(
            w, [&] { return w.adapter->erase(many); },
            [&](call<bitmap>& ended) {
                bitmap erased{many.size()};
                if (!ended.failed())
                    erased = ended.take();
                REQUIRE(erased.size() == many.size());
                const bitmap left = w.find(many);
                CHECK((left & erased).none());
                CHECK(w.get(many, object_bytes) == left);
                CHECK(w.status().objects == left.count());
                CHECK(w.status().corrupt_objects == 0);
                w.put(many, object_bytes);
            });
        CHECK(w.status().objects == many.size());
        check_works(w);
    }
}

TEST_CASE("a listing that is cancelled can be begun again")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(key_range(0, 20), 16);
        cancel_at_any_moment(
            w, [&] { return w.adapter->list({}); },
            [&](call<key_page>& ended) {
                if (!ended.failed())
                    CHECK(ended.take().keys.size() == 20);
                CHECK(w.list(3).size() == 20);
            });
        check_works(w);
    }
}

TEST_CASE("a search for victims that is cancelled holds the locks that it reports, and no other")
{
    FOR_EACH_BOUNDED_ADAPTER(adapter)
    {
        world w{adapter, adapter.capacity_for(object_count, object_bytes)};
        auto* source = dynamic_cast<demotion_source*>(w.adapter.get());
        if (source == nullptr)
            return;
        w.put(key_range(0, object_count), object_bytes);
        cancel_at_any_moment(
            w, [&] { return source->lock_victims(4, 4 * object_bytes); },
            [&](call<std::vector<stored_object>>& ended) {
                if (!ended.failed()) {
                    std::vector<object_key> names;
                    for (const stored_object& victim : ended.take())
                        names.push_back(victim.key);
                    CHECK(w.status().locked_objects == names.size());
                    w.unlock(names);
                }
                check_at_rest(w);
            });
        CHECK(w.get(key_range(0, object_count), object_bytes).all());
    }
}

TEST_CASE("cancelling one call does not disturb those beside it")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        const auto many = key_range(0, object_count);
        w.put(many, object_bytes);
        for (std::size_t handlers = 0; handlers < 8; ++handlers) {
            auto first = blank(many, object_bytes);
            auto second = blank(many, object_bytes);
            const auto first_items = first.to_load();
            const auto second_items = second.to_load();
            auto cancelled = w.start(w.adapter->load(first_items));
            auto other = w.start(w.adapter->load(second_items));
            w.io.restart();
            for (std::size_t i = 0; i < handlers && !cancelled.ended(); ++i)
                w.io.run_one();
            cancelled.cancel();
            w.finish();
            CHECK(cancelled.ended());
            CHECK(other.take().all());
            for (std::size_t i = 0; i < many.size(); ++i)
                CHECK(second.holds(i));
        }
        check_at_rest(w);
    }
}
