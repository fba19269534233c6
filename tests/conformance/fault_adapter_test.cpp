// The fault adapter's own: each thing that can go wrong, when it does, and what is left.

#include "conformance/world.hpp"

#include <boost/asio/detached.hpp>
#include <boost/system/system_error.hpp>
#include <thread>

#include <terrace/fault_adapter.hpp>
#include <terrace/memory_adapter.hpp>

using namespace terrace;
using namespace terrace::conformance;
using namespace std::chrono_literals;

namespace {

namespace condition = boost::system::errc;

class faulty_memory final : public place {
public:
    explicit faulty_memory(std::shared_ptr<fault_control> control) : control_{std::move(control)} {}

    std::unique_ptr<l2_adapter> open(std::uint64_t capacity_bytes) override
    {
        memory_options options;
        options.capacity_bytes = capacity_bytes;
        return make_fault_adapter(std::make_unique<memory_adapter>(options), control_);
    }

private:
    std::shared_ptr<fault_control> control_;
};

/// What a fault_world is made of, before the world that needs it.
struct fault_parts {
    explicit fault_parts(std::uint64_t seed)
        : time{std::make_shared<manual_clock>()},
          faults{std::make_shared<fault_control>(seed, time)}
    {
        description.make_place = [f = faults] { return std::make_unique<faulty_memory>(f); };
    }
    std::shared_ptr<manual_clock> time;
    std::shared_ptr<fault_control> faults;
    subject description;
};

/// A memory adapter behind faults, on virtual time.
class fault_world : public fault_parts, public world {
public:
    explicit fault_world(std::uint64_t seed = 1) : fault_parts{seed}, world{description} {}

    /// Runs what is ready: time stands still, and what hangs hangs.
    void settle()
    {
        io.restart();
        while (io.poll() != 0)
            io.restart();
    }

    /// The error that a call throws.
    template <class Call>
    boost::system::error_code error_of(Call make)
    {
        try {
            make();
        } catch (const boost::system::system_error& e) {
            return e.code();
        }
        return {};
    }
};

fault_rule rule(fault_calls calls, fault_effect effect)
{
    return {calls, effect};
}

/// Objects that only differ from their keys' contents in one byte.
std::size_t differing_bytes(const buffer& a, const buffer& b)
{
    REQUIRE(a.size() == b.size());
    std::size_t differing = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        differing += a[i] != b[i] ? 1 : 0;
    return differing;
}

/// A memory adapter that hides that it is a demotion_source.
class plain_adapter final : public l2_adapter {
public:
    asio::awaitable<bitmap> lookup_and_lock(std::span<const object_key> keys) override
    {
        return memory_.lookup_and_lock(keys);
    }
    asio::awaitable<bitmap> load(std::span<const load_item> items) override { return memory_.load(items); }
    asio::awaitable<bitmap> store(std::span<const store_item> items) override { return memory_.store(items); }
    asio::awaitable<void> unlock(std::span<const object_key> keys) override { return memory_.unlock(keys); }
    asio::awaitable<bitmap> erase(std::span<const object_key> keys) override { return memory_.erase(keys); }
    asio::awaitable<key_page> list(list_cursor cursor) override { return memory_.list(std::move(cursor)); }
    [[nodiscard]] adapter_status status() const override { return memory_.status(); }
    asio::awaitable<void> close() override { return memory_.close(); }

private:
    memory_adapter memory_;
};

} // namespace

TEST_CASE("fault adapter: it is a demotion_source exactly if what it wraps is one")
{
    const auto faults = std::make_shared<fault_control>();
    const auto over_plain = make_fault_adapter(std::make_unique<plain_adapter>(), faults);
    const auto over_memory = make_fault_adapter(std::make_unique<memory_adapter>(), faults);
    CHECK(dynamic_cast<demotion_source*>(over_plain.get()) == nullptr);
    CHECK(dynamic_cast<demotion_source*>(over_memory.get()) != nullptr);
    CHECK(over_memory->status().name == "fault:memory:");
    CHECK_THROWS_AS((void)make_fault_adapter(nullptr, faults), std::invalid_argument);
    CHECK_THROWS_AS((void)make_fault_adapter(std::make_unique<memory_adapter>(), nullptr), std::invalid_argument);
}

TEST_CASE("fault adapter: a delay passes in virtual time")
{
    fault_world w;
    w.put(keys({1}));
    auto slow = rule(fault_calls::load, fault_effect::delay);
    slow.delay = 5ms;
    w.faults->add(slow);
    w.faults->add(slow); // and again

    auto buffers = blank(keys({1}));
    const auto items = buffers.to_load();
    auto loading = w.start(w.adapter->load(items));
    w.settle();
    w.time->advance(9ms);
    w.settle();
    CHECK(!loading.ended());
    CHECK(w.status().in_flight == 1);
    const auto other = keys({2});
    auto erasing = w.start(w.adapter->erase(other));
    w.settle();
    CHECK(erasing.ended()); // other calls are not delayed

    SUBCASE("to its end")
    {
        w.time->advance(1ms);
        w.settle();
        CHECK(loading.take().all());
        CHECK(buffers.holds(0));
    }
    SUBCASE("or until it is cancelled")
    {
        loading.cancel();
        w.settle();
        CHECK(loading.aborted());
        CHECK(!buffers.holds(0));
    }
    CHECK(w.faults->counts().delays == 2);
    check_at_rest(w);
}

TEST_CASE("fault adapter: a call throws what its rule says, and has done nothing")
{
    fault_world w;
    auto full = rule(fault_calls::store, fault_effect::throw_error);
    full.error = make_error_code(condition::no_space_on_device);
    w.faults->add(full);
    w.faults->add(rule(fault_calls::lookup | fault_calls::load, fault_effect::throw_error));
    CHECK(w.error_of([&] { w.put(keys({1})); }) == condition::no_space_on_device);
    CHECK(w.error_of([&] { w.lookup(keys({1})); }) == condition::io_error);
    CHECK(w.error_of([&] { w.get(keys({1})); }) == condition::io_error);
    CHECK(w.erase(keys({1})).none());
    CHECK(w.status().objects == 0);
    CHECK(w.faults->counts().errors == 3);
    CHECK(w.faults->counts().calls == 4);
    check_at_rest(w);
}

TEST_CASE("fault adapter: an answer is lost after the call was carried out")
{
    fault_world w;
    w.put(keys({1}));
    w.faults->add(rule(fault_calls::all, fault_effect::lose_answer));
    CHECK(w.error_of([&] { w.put(keys({2})); }) == condition::io_error);
    CHECK(w.error_of([&] { w.erase(keys({1})); }) == condition::io_error);
    CHECK(w.error_of([&] { w.lookup(keys({2})); }) == condition::io_error);
    check_at_rest(w); // a lookup that throws has locked nothing
    w.faults->clear();
    CHECK(w.find(keys({1, 2})) == bits("01"));
    CHECK(w.faults->counts().lost_answers == 3);
}

TEST_CASE("fault adapter: a call hangs until it is cancelled or released")
{
    fault_world w;
    w.put(keys({1}));
    w.faults->add(rule(fault_calls::load, fault_effect::hang));
    auto buffers = blank(keys({1}));
    const auto items = buffers.to_load();
    auto loading = w.start(w.adapter->load(items));
    w.settle();
    CHECK(!loading.ended());
    CHECK(w.faults->counts().hanging == 1);

    SUBCASE("cancelled")
    {
        loading.cancel();
        w.settle();
        CHECK(loading.aborted());
        CHECK(buffers.still_poisoned());
    }
    SUBCASE("released")
    {
        w.faults->release();
        w.settle();
        CHECK(loading.take().all());
        CHECK(buffers.holds(0));
    }
    SUBCASE("released by another thread")
    {
        std::jthread{[&] { w.faults->release(); }}.join();
        w.settle();
        CHECK(loading.take().all());
    }
    SUBCASE("not by the end of its rule")
    {
        w.faults->clear();
        w.settle();
        CHECK(!loading.ended());
        w.faults->release();
        w.settle();
        CHECK(loading.take().all());
    }
    CHECK(w.faults->counts().hangs == 1);
    CHECK(w.faults->counts().hanging == 0);
    check_at_rest(w);
}

TEST_CASE("fault adapter: what is deaf does not hear that it is cancelled, and writes to its buffers when released")
{
    fault_world w;
    w.put(keys({1}));
    w.faults->add(rule(fault_calls::load | fault_calls::store, fault_effect::hang_deaf));
    auto buffers = blank(keys({1}));
    const auto loads = buffers.to_load();
    const payloads objects{keys({2}), default_bytes};
    const auto stores = objects.to_store();
    auto loading = w.start(w.adapter->load(loads));
    auto storing = w.start(w.adapter->store(stores));
    w.settle();

    SUBCASE("cancelled")
    {
        loading.cancel();
        storing.cancel();
        w.settle();
        CHECK(!loading.ended());
        CHECK(!storing.ended());
        CHECK(w.status().in_flight == 2);
        CHECK(buffers.still_poisoned());
        w.faults->release();
        w.settle();
        CHECK(loading.aborted());
        CHECK(storing.aborted());
        CHECK(!buffers.still_poisoned());
        CHECK(w.status().objects == 1);
    }
    SUBCASE("not cancelled")
    {
        w.faults->release();
        w.settle();
        CHECK(loading.take().all());
        CHECK(storing.take().all());
        CHECK(buffers.holds(0));
    }
    check_at_rest(w);
}

TEST_CASE("fault adapter: an executor that goes takes with it what hangs")
{
    const auto faults = std::make_shared<fault_control>();
    const auto adapter = make_fault_adapter(std::make_unique<memory_adapter>(), faults);
    faults->add(rule(fault_calls::list, fault_effect::hang));
    faults->add(rule(fault_calls::unlock, fault_effect::hang_deaf));
    const auto some = keys({1});
    {
        asio::io_context io;
        asio::co_spawn(io, adapter->list({}), asio::detached);
        asio::co_spawn(io, adapter->unlock(some), asio::detached);
        io.poll();
        CHECK(faults->counts().hanging == 2);
        CHECK(adapter->status().in_flight == 2);
    }
    CHECK(faults->counts().hanging == 0);
    CHECK(adapter->status().in_flight == 0);
    faults->release();
}

TEST_CASE("fault adapter: items fail, and say so")
{
    fault_world w;
    const auto many = key_range(0, 100);
    auto half = rule(fault_calls::store, fault_effect::fail_items);
    half.item_probability = 0.5;
    const auto stores = w.faults->add(half);
    const bitmap stored = w.put(many);
    CHECK(stored.count() > 20);
    CHECK(stored.count() < 80);
    CHECK(w.find(many) == stored);
    CHECK(w.faults->counts().failed_items == 100 - stored.count());

    w.faults->remove(stores);
    w.put(many);
    half.calls = fault_calls::load | fault_calls::lookup | fault_calls::erase;
    w.faults->add(half);
    auto buffers = blank(many);
    const auto items = buffers.to_load();
    const bitmap loaded = w.run(w.adapter->load(items));
    CHECK(loaded.any());
    for (std::size_t i = 0; i < many.size(); ++i) {
        CHECK(buffers.holds(i) == loaded.test(i));
        if (!loaded.test(i)) // written to all the same: those bytes are undefined
            CHECK(buffers.at(i)[default_bytes - 1] == std::byte{0xFA});
    }
    const bitmap found = w.lookup(many);
    CHECK(!found.all());
    CHECK(w.status().locked_objects == found.count());

    w.faults->clear();
    w.faults->add(rule(fault_calls::unlock, fault_effect::fail_items));
    w.unlock(many);
    CHECK(w.status().locked_objects == found.count());
    w.faults->clear();
    w.unlock(many);
    check_at_rest(w);
}

TEST_CASE("fault adapter: objects vanish")
{
    fault_world w;
    w.put(keys({1, 2}));
    SUBCASE("at a store, which lies")
    {
        w.faults->add(rule(fault_calls::store, fault_effect::drop_items));
        CHECK(w.put(keys({2, 3})).all());
        CHECK(w.find(keys({1, 2, 3})) == bits("100"));
    }
    SUBCASE("at a lookup")
    {
        w.faults->add(rule(fault_calls::lookup, fault_effect::drop_items));
        CHECK(w.lookup(keys({1})).none());
        CHECK(w.get(keys({1, 2})) == bits("01"));
    }
    SUBCASE("at a load, unless they are locked: then only this load misses them")
    {
        w.lookup(keys({1}));
        const auto id = w.faults->add(rule(fault_calls::load, fault_effect::drop_items));
        CHECK(w.get(keys({1, 2})).none());
        w.faults->remove(id);
        CHECK(w.get(keys({1, 2})) == bits("10"));
        w.unlock(keys({1}));
    }
    SUBCASE("but not at an erase, which lies")
    {
        w.faults->add(rule(fault_calls::erase, fault_effect::drop_items));
        CHECK(w.erase(keys({1, 3})).all());
        CHECK(w.get(keys({1, 3})) == bits("10"));
    }
    CHECK(w.faults->counts().dropped_items > 0);
    check_at_rest(w);
}

TEST_CASE("fault adapter: one byte is another one, and nobody says so")
{
    fault_world w;
    w.put(keys({1, 2}));
    SUBCASE("of what is loaded")
    {
        w.faults->add(rule(fault_calls::load, fault_effect::corrupt_items));
        auto buffers = blank(keys({1, 2, 3}));
        const auto items = buffers.to_load();
        CHECK(w.run(w.adapter->load(items)) == bits("110"));
        for (std::size_t i = 0; i < 2; ++i)
            CHECK(differing_bytes(buffers.at(i), content(key(i + 1), default_bytes)) == 1);
        w.faults->clear();
        CHECK(w.get(keys({1, 2})).all()); // the store is not touched
    }
    SUBCASE("of what is stored")
    {
        w.faults->add(rule(fault_calls::store, fault_effect::corrupt_items));
        const payloads objects{keys({1, 2}), default_bytes};
        const auto stores = objects.to_store();
        CHECK(w.run(w.adapter->store(stores)).all());
        CHECK(objects.holds(0)); // the caller's bytes are not touched
        CHECK(objects.holds(1));
        auto buffers = blank(keys({1, 2}));
        const auto loads = buffers.to_load();
        CHECK(w.run(w.adapter->load(loads)).all());
        for (std::size_t i = 0; i < 2; ++i)
            CHECK(differing_bytes(buffers.at(i), objects.at(i)) == 1);
    }
    CHECK(w.faults->counts().corrupted_items == 2);
    check_at_rest(w);
}

TEST_CASE("fault adapter: answers have a bit too many")
{
    fault_world w;
    w.put(keys({1, 2}));
    w.faults->add(rule(fault_calls::all, fault_effect::wrong_size));
    const auto some = keys({1, 2});
    CHECK(w.run(w.adapter->lookup_and_lock(some)).size() == 3);
    check_at_rest(w); // nobody could unlock what such an answer names
    auto buffers = blank(some);
    const auto loads = buffers.to_load();
    CHECK(w.run(w.adapter->load(loads)) == bits("111"));
    CHECK(w.run(w.adapter->erase(some)).size() == 3);
    CHECK(w.list().empty());
    CHECK(w.faults->counts().wrong_sizes == 3);
}

TEST_CASE("fault adapter: dead, it throws whatever is asked, until it is revived")
{
    fault_world w;
    w.put(keys({1}));
    w.lookup(keys({1}));
    boost::system::error_code error = make_error_code(condition::no_such_device);
    SUBCASE("killed")
    {
        w.faults->kill();
    }
    SUBCASE("killed with an error")
    {
        error = make_error_code(condition::timed_out);
        w.faults->kill(error);
    }
    SUBCASE("of a rule")
    {
        auto deadly = rule(fault_calls::store, fault_effect::die);
        deadly.error = error;
        const auto id = w.faults->add(deadly);
        CHECK(w.get(keys({1})).all());
        CHECK(w.error_of([&] { w.put(keys({2})); }) == error);
        w.faults->remove(id);
    }
    CHECK(w.faults->dead());
    CHECK(w.error_of([&] { w.lookup(keys({1})); }) == error);
    CHECK(w.error_of([&] { w.get(keys({1})); }) == error);
    CHECK(w.error_of([&] { w.put(keys({1})); }) == error);
    CHECK(w.error_of([&] { w.unlock(keys({1})); }) == error);
    CHECK(w.error_of([&] { w.erase(keys({1})); }) == error);
    CHECK(w.error_of([&] { w.list(); }) == error);
    CHECK(w.error_of([&] { w.run(dynamic_cast<demotion_source&>(*w.adapter).lock_victims(1, 1)); }) == error);
    CHECK(w.error_of([&] { w.run(w.adapter->close()); }) == error);
    CHECK(w.status().health == adapter_health::failed);
    CHECK(w.status().problem.find(error.message()) != std::string::npos);
    CHECK(w.status().objects == 1);

    w.faults->revive();
    CHECK(w.status().health == adapter_health::healthy);
    CHECK(w.status().locked_objects == 1); // as it was before
    w.unlock(keys({1}));
    CHECK(w.get(keys({1})).all());
    CHECK(w.faults->counts().deaths == 1);
    check_at_rest(w);
}

TEST_CASE("fault adapter: a rule hits by probability, each n-th call, or in a span of time")
{
    fault_world w;
    auto missing = rule(fault_calls::load, fault_effect::fail_items);
    const auto loads = [&](int calls) {
        std::string answers;
        w.put(keys({1}));
        for (int i = 0; i < calls; ++i)
            answers += w.get(keys({1})).all() ? '+' : '-';
        return answers;
    };
    SUBCASE("each third")
    {
        missing.every = 3;
        w.faults->add(missing);
        CHECK(loads(8) == "++-++-++");
    }
    SUBCASE("never")
    {
        missing.probability = 0;
        w.faults->add(missing);
        CHECK(loads(5) == "+++++");
    }
    SUBCASE("one in four")
    {
        missing.probability = 0.25;
        w.faults->add(missing);
        const std::string answers = loads(400);
        const auto hit = std::count(answers.begin(), answers.end(), '-');
        CHECK(hit > 60);
        CHECK(hit < 140);
    }
    SUBCASE("from 2 ms to 3 ms after it was added")
    {
        w.time->advance(1h);
        missing.from = 2ms;
        missing.until = 3ms;
        w.faults->add(missing);
        std::string answers;
        for (int i = 0; i < 5; ++i) {
            answers += loads(1);
            w.time->advance(1ms);
        }
        CHECK(answers == "++-++");
    }
}

TEST_CASE("fault adapter: a seed decides what happens, whatever other rules there are")
{
    const auto history = [](std::uint64_t seed, bool other_rules) {
        fault_world w{seed};
        auto noise = rule(fault_calls::load, fault_effect::corrupt_items);
        noise.item_probability = 0.3;
        auto misses = rule(fault_calls::load, fault_effect::fail_items);
        misses.probability = 0.5;
        misses.item_probability = 0.5;
        w.put(key_range(0, 10));
        w.faults->add(misses);
        if (other_rules)
            w.faults->add(noise);
        std::string all;
        for (int call = 0; call < 20; ++call) {
            auto buffers = blank(key_range(0, 10));
            const auto items = buffers.to_load();
            const bitmap loaded = w.run(w.adapter->load(items));
            for (std::size_t i = 0; i < loaded.size(); ++i)
                all += loaded.test(i) ? '+' : '-';
        }
        return all;
    };
    CHECK(history(1, false) == history(1, false));
    CHECK(history(1, false) != history(2, false));
    CHECK(history(1, false) == history(1, true));
}

TEST_CASE("fault adapter: rules come and go while calls run")
{
    fault_world w;
    std::atomic<bool> done = false;
    std::jthread operating{[&] {
        auto slip = rule(fault_calls::all, fault_effect::fail_items);
        slip.item_probability = 0.5;
        while (!done) {
            const auto a = w.faults->add(rule(fault_calls::store | fault_calls::load, fault_effect::throw_error));
            const auto b = w.faults->add(slip);
            w.faults->release();
            w.faults->remove(a);
            (void)w.faults->counts();
            w.faults->remove(b);
        }
    }};
    std::uint64_t errors = 0;
    for (std::uint64_t round = 0; round < 300; ++round) {
        try {
            w.put(key_range(0, 4));
            w.get(key_range(0, 4));
        } catch (const boost::system::system_error&) {
            ++errors;
        }
    }
    done = true;
    operating.join();
    CHECK(w.faults->counts().errors == errors);
    CHECK(w.put(key_range(0, 4)).all());
    CHECK(w.get(key_range(0, 4)).all());
    check_at_rest(w);
}

TEST_CASE("fault adapter: rules that cannot be are refused")
{
    fault_control faults;
    fault_rule bad = rule(fault_calls::load, fault_effect::delay);
    SUBCASE("a probability above 1")
    {
        bad.probability = 1.5;
    }
    SUBCASE("a negative probability of items")
    {
        bad.item_probability = -0.1;
    }
    SUBCASE("each 0th call")
    {
        bad.every = 0;
    }
    SUBCASE("a negative delay")
    {
        bad.delay = -1ms;
    }
    SUBCASE("a span that ends before it begins")
    {
        bad.from = 2s;
        bad.until = 1s;
    }
    SUBCASE("for no calls")
    {
        bad.calls = fault_calls::none;
    }
    SUBCASE("for calls that the effect has nothing to do with")
    {
        bad.calls = fault_calls::list | fault_calls::close;
        bad.effect = fault_effect::corrupt_items;
    }
    CHECK_THROWS_AS(faults.add(bad), std::invalid_argument);
}
