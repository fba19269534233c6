#include "support/log_book.hpp"
#include "support/recording_hook.hpp"
#include "support/world.hpp"

#include <stdexcept>

#include <terrace/cuda/pinned_memory.hpp>

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

namespace {

/// A world whose engine logs into a book.
struct logged_world {
    explicit logged_world(world_options options = {}) : w{with_log(std::move(options), book)} {}

    static world_options with_log(world_options options, const log_book& to)
    {
        options.log = to.function();
        return options;
    }
    void fail_lookups(std::uint32_t times)
    {
        w.l2.lookup_throws = true;
        for (std::uint32_t i = 0; i < times; ++i)
            (void)w.run(w.prefetch("x"));
        w.settle();
    }

    log_book book;
    world w;
};

world_options patient_breaker()
{
    world_options options;
    options.adapter.breaker.failures = 1'000;
    return options;
}

/// A device that takes so much and no more.
struct small_locker final : cuda::page_locker {
    void lock(std::span<std::byte>) override
    {
        if (left-- == 0)
            throw std::runtime_error("no room on the device");
    }
    void unlock(std::span<std::byte>) noexcept override {}
    int left = 1;
};

/// L1 of four slices that begins with one.
config growing_config(std::shared_ptr<memory_hook> hook, const log_book& book)
{
    config c;
    c.l1.slice_bytes = 2 << 20;
    c.l1.initial_bytes = c.l1.slice_bytes;
    c.l1.capacity_bytes = 4 * c.l1.slice_bytes;
    c.l1.hook = std::move(hook);
    c.log = book.function();
    return c;
}

} // namespace

TEST_CASE("log: an engine that starts and ends says so, with its adapters")
{
    logged_world l;
    l.w.settle();
    CHECK(l.book.events(log_level::debug) == "started adapter_added");
    CHECK(l.book.latest("started").message ==
          "L1 has 32 KiB of 32 KiB; policies: eviction lru, prefetch default, store default");
    CHECK(l.book.latest("started").component == "engine");
    CHECK(l.book.latest("adapter_added").message == "scripted: is in use: it holds 0 objects, 0 B");
    CHECK(field<std::uint64_t>(l.book.latest("adapter_added"), "id") == 1);
    l.w.close();
    CHECK(l.book.events(log_level::debug) == "started adapter_added adapter_closed closed");
}

TEST_CASE("log: an adapter that is removed")
{
    logged_world l;
    l.w.run(l.w.manager.remove_adapter(l.w.ids[0]));
    CHECK(l.book.events(log_level::info) == "started adapter_added adapter_removed adapter_closed");
    CHECK(field<std::string>(l.book.latest("adapter_removed"), "adapter") == "scripted:");
}

TEST_CASE("log: a breaker that opens says so once, and why; and once that it is closed")
{
    logged_world l;
    const breaker_options options;
    l.fail_lookups(options.failures);
    CHECK(l.book.events() == "call_failed breaker_opened");
    const log_record& opened = l.book.latest("breaker_opened");
    CHECK(opened.message ==
          "lookups in scripted: stop for 1 s: 5 failed one after the other, the last one with: scripted: lookup");
    CHECK(opened.level == log_level::warning);
    CHECK(opened.time == l.w.time->now());
    CHECK(field<std::string>(opened, "operation") == "lookup");
    CHECK(field<std::string>(opened, "reason") == "scripted: lookup");
    CHECK(field<std::uint64_t>(opened, "failures") == 5);
    CHECK(field<std::uint64_t>(opened, "cool_down_ms") == 1'000);

    l.book.forget();
    l.fail_lookups(100); // which are not made
    CHECK(l.book.events(log_level::debug) == "");
    l.w.pass(options.cool_down);
    l.fail_lookups(1);
    CHECK(l.book.events(log_level::debug) == "probe_failed");
    CHECK(l.book.latest("probe_failed").message ==
          "a lookup in scripted: was tried and failed: scripted: lookup; the next try comes in 2 s");

    l.book.forget();
    l.w.pass(2 * options.cool_down);
    l.w.l2.lookup_throws = false;
    (void)l.w.run(l.w.prefetch("x"));
    CHECK(l.book.events(log_level::debug) == "breaker_closed");
    CHECK(l.book.latest("breaker_closed").message == "lookups in scripted: work again, after 3 s");
    l.w.close();
}

TEST_CASE("log: a call that hangs past its timeout, or answers another question")
{
    logged_world l;
    SUBCASE("it hangs")
    {
        l.w.l2.lookups.shut();
        auto hits = l.w.start(l.w.prefetch("x"));
        CHECK(l.book.events() == "");
        l.w.pass(adapter_options{}.lookup_timeout);
        CHECK(l.book.latest("call_failed").message == "a lookup in scripted: failed: no answer within 1 s");
        l.w.l2.lookups.open();
        l.w.settle();
    }
    SUBCASE("it answers another question")
    {
        l.w.l2.wrong_size = true;
        (void)l.w.run(l.w.prefetch("x"));
        CHECK(l.book.latest("call_failed").message ==
              "a lookup in scripted: failed: an answer of another size than the question");
        l.w.l2.wrong_size = false;
    }
    CHECK(l.book.events() == "call_failed");
    l.w.close();
}

TEST_CASE("log: what fails again and again is said every ten seconds, with how often it was")
{
    logged_world l{patient_breaker()};
    l.fail_lookups(50);
    CHECK(l.book.events() == "call_failed");
    l.w.pass(10s - 1ns);
    l.fail_lookups(1);
    CHECK(l.book.events() == "call_failed");
    l.w.pass(1ns);
    l.fail_lookups(1);
    CHECK(l.book.events() == "call_failed call_failed");
    CHECK(field<std::uint64_t>(l.book.latest("call_failed"), "times") == 51);
    CHECK(l.book.latest("call_failed").message ==
          "a lookup in scripted: failed: scripted: lookup (51 failed since this was last said)");
    l.w.close();
}

TEST_CASE("log: a function that throws loses its record, and nothing else")
{
    world_options options;
    int calls = 0;
    options.log = [&calls](const log_record&) {
        ++calls;
        throw std::runtime_error("the log is full");
    };
    world w{options};
    w.put("a");
    CHECK(w.run(w.prefetch("a")).prefix_hits == 1);
    CHECK(calls == 2);
    CHECK(w.manager.status().log_errors == 2);
    CHECK(w.manager.status().internal_errors == 0);
    w.close();
    CHECK(calls == 4);
}

TEST_CASE("log: the function is called by a handler of its own, and may call the engine")
{
    world* within = nullptr;
    std::vector<std::uint64_t> adapters;
    world_options options;
    options.adapters = 0;
    options.log = [&](const log_record&) {
        if (within != nullptr)
            adapters.push_back(within->manager.status().adapters.size());
    };
    world w{options};
    within = &w;
    (void)w.manager.add_adapter(std::make_unique<scripted_adapter>(std::make_shared<scripted_adapter::script>()));
    CHECK(adapters.empty());
    w.settle();
    CHECK(adapters == std::vector<std::uint64_t>{1, 1}); // started, adapter_added
    within = nullptr;
    w.close();
}

TEST_CASE("log: an adapter that cannot be closed as it should")
{
    logged_world l;
    SUBCASE("its close() throws")
    {
        l.w.l2.close_throws = true;
        CHECK(l.w.start(l.w.manager.close()).failed());
        CHECK(l.book.events() == "adapter_close_failed close_failed");
        CHECK(l.book.latest("adapter_close_failed").message ==
              "scripted: could not be closed as it should: scripted: close");
    }
    SUBCASE("its close() hangs")
    {
        l.w.l2.closing.shut();
        auto closing = l.w.start(l.w.manager.close());
        l.w.pass(config{}.close_timeout);
        CHECK(closing.failed());
        CHECK(l.book.events() == "adapter_close_late close_failed");
        CHECK(l.book.latest("adapter_close_late").message ==
              "scripted: is not closed after 30 s: its close() goes on in the background");
        l.w.l2.closing.open();
        l.w.settle();
        CHECK(l.book.records().back().event == "adapter_closed");
    }
    SUBCASE("a call of it hangs")
    {
        l.w.put("a");
        l.w.l2.loads.shut();
        auto hits = l.w.start(l.w.prefetch("a"));
        auto closing = l.w.start(l.w.manager.close());
        l.w.pass(config{}.close_timeout);
        l.w.pass(config{}.close_timeout);
        CHECK(closing.failed());
        CHECK(l.book.latest("adapter_close_late").message ==
              "scripted: is not closed after 60 s: 1 of its calls goes on in the background");
        CHECK(l.book.latest("close_failed").level == log_level::warning);
        l.w.l2.loads.open();
        l.w.settle();
        CHECK(l.book.records().back().event == "adapter_closed");
    }
}

TEST_CASE("log: objects that an adapter found damaged")
{
    logged_world l;
    l.w.put("a b");
    l.w.l2.broken = {key("b").to_string()};
    (void)l.w.run(l.w.prefetch("a b")); // which is not for damage
    CHECK(l.book.events() == "");
    l.w.l2.corrupt_objects = 3;
    (void)l.w.run(l.w.prefetch("a b"));
    CHECK(l.book.events() == "objects_damaged");
    CHECK(l.book.latest("objects_damaged").message ==
          "scripted: found 3 objects damaged, and removed them, 3 since its start");
    (void)l.w.run(l.w.prefetch("a b"));
    CHECK(l.book.events() == "objects_damaged");
    l.w.close();
}

TEST_CASE("log: objects that are not stored")
{
    world_options options;
    options.adapter.store_queue_bytes = object_bytes;
    SUBCASE("for the adapter could not")
    {
        logged_world l{options};
        l.w.l2.unstorable = {key("a").to_string(), key("b").to_string()};
        l.w.write("a b");
        CHECK(l.book.events() == "stores_failed");
        CHECK(l.book.latest("stores_failed").message ==
              "scripted: could not store 2 objects, however often it was tried");
        l.w.close();
    }
    SUBCASE("for the queue was full")
    {
        options.adapter.store_queue_full = full_queue_policy::drop_oldest;
        options.adapter.stores_in_flight = 1;
        logged_world l{options};
        l.w.l2.stores.shut();
        for (const char* word : {"a", "b", "c"})
            l.w.write(word);
        CHECK(l.book.events() == "stores_dropped");
        CHECK(l.book.latest("stores_dropped").message == "1 objects are not stored in scripted:: its queue is full");
        l.w.l2.stores.open();
        l.w.settle();
        l.w.close();
    }
    SUBCASE("for the engine closed")
    {
        logged_world l{options};
        l.w.l2.stores.shut();
        for (const char* word : {"a", "b", "c", "d", "e", "f"})
            l.w.write(word);
        auto closing = l.w.start(l.w.manager.close());
        CHECK(field<std::string>(l.book.latest("stores_dropped"), "reason") == "the engine closes");
        CHECK(field<std::uint64_t>(l.book.latest("stores_dropped"), "objects") == 2);
        l.w.l2.stores.open();
        l.w.settle();
        CHECK(closing.done());
    }
}

TEST_CASE("log: a store policy that throws")
{
    struct broken_policy final : store_policy {
        std::string_view name() const noexcept override { return "broken"; }
        std::vector<bitmap> select_targets(const store_candidates&) override
        {
            throw std::runtime_error("it divides by zero");
        }
    };
    world_options options;
    options.own_store_policy = std::make_shared<broken_policy>();
    logged_world l{options};
    l.w.write("a");
    l.w.write("b");
    CHECK(l.book.events() == "store_policy_failed");
    CHECK(l.book.latest("store_policy_failed").level == log_level::error);
    CHECK(field<std::string>(l.book.latest("store_policy_failed"), "reason") == "it divides by zero");
    l.w.close();
}

TEST_CASE("log: L1 that cannot grow says so once, until it has grown again")
{
    log_book book;
    asio::io_context io;
    const auto hook = std::make_shared<recording_hook>();
    hook->most = 1;
    storage_manager manager{io.get_executor(), growing_config(hook, book)};
    const auto write = [&](std::string_view word) {
        (void)manager.reserve_write(keys(word), memory_layout::bytes(2 << 20));
        io.restart();
        io.poll();
    };
    for (int i = 0; i < 20; ++i) { // more is wanted than there is
        auto held = manager.reserve_write(keys("held"), memory_layout::bytes(2 << 20));
        write("a");
    }
    CHECK(manager.status().l1.growth_failures > 1);
    CHECK(book.events() == "growth_failed");
    CHECK(book.latest("growth_failed").message ==
          "L1 cannot grow, and stays at 2 MiB of 8 MiB: the device has no room for another slice");
}

TEST_CASE("log: memory that could not be pinned, when it changes")
{
    log_book book;
    asio::io_context io;
    auto locker = std::make_shared<small_locker>();
    const auto hook = std::make_shared<cuda::pinned_memory>(cuda::pin_failure::count, locker);
    storage_manager manager{io.get_executor(), growing_config(hook, book)};
    io.poll();
    CHECK(book.events() == "");
    const auto two = manager.reserve_write(keys("a b"), memory_layout::bytes(2 << 20));
    io.restart();
    io.poll();
    CHECK(book.events() == "memory_hook_problem");
    CHECK(book.latest("memory_hook_problem").message ==
          "2 MiB of L1 could not be pinned, copies to and from a GPU take twice as long there: no room on the device");
}
