// Each operation that can be awaited, cancelled at any moment, in the situations that it meets.

#include "support/sweep.hpp"

#include <boost/asio/use_awaitable.hpp>

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

namespace {

void shut_all(stage& s)
{
    s.shut_all_gates();
}

/// All of L1 is written, and what is written is stored.
void fill_l1(stage& s)
{
    s.w.write("p q r s t u v x");
}

/// All of L1 is held by stores that the adapter works on.
void fill_l1_with_stores(stage& s)
{
    s.w.l2.stores.shut();
    fill_l1(s);
}

void hold(stage& s, std::string_view objects)
{
    const auto which = keys(objects);
    s.held.push_back(s.w.manager.read(which));
    REQUIRE(s.held.back().size() == which.size());
}

/// What waits for a lease gets it, and then what waits for the adapter.
void let_go_of_leases(stage& s)
{
    if (!s.held.empty())
        s.held.pop_back();
    else
        let_something_happen(s);
}

started<bool> prefetch_two(stage& s)
{
    return s.w.launch(hits(s.w.prefetch("a b"), 2));
}

std::vector<key_group> two_groups()
{
    const auto layout = memory_layout::bytes(object_bytes);
    std::vector<key_group> groups;
    groups.emplace_back(keys("f0 f1 f2"), layout);
    groups.emplace_back(keys("s0 s1 s2"), layout);
    groups[1].set_window_chunks(2);
    return groups;
}

asio::awaitable<bool> tickets(asio::awaitable<lookup_ticket> work, std::size_t expected)
{
    const lookup_ticket ticket = co_await std::move(work);
    CHECK(ticket.hits() == expected);
    co_return true;
}

asio::awaitable<bool> reserved(asio::awaitable<write_lease> work, l1_error expected)
{
    const write_lease lease = co_await std::move(work);
    REQUIRE(lease.size() == 2);
    CHECK(lease.ok(0) == expected);
    CHECK(lease.ok(1) == expected);
    co_return true;
}

asio::awaitable<bool> readable(asio::awaitable<read_lease> work, std::size_t expected)
{
    const read_lease lease = co_await std::move(work);
    CHECK(lease.size() == expected);
    CHECK(intact(lease));
    co_return true;
}

/// reserve_write_when_free(), for a minute.
started<bool> reserve_two(stage& s, l1_error expected)
{
    const auto deadline = s.w.time->now() + 60s;
    return s.w.launch(reserved(s.w.manager.reserve_write_when_free(keys("a b"), s.w.layout, deadline), expected));
}

scene with_slow_l2(sweep_size at_least = {})
{
    scene s{.at_least = at_least, .before = shut_all, .call = prefetch_two};
    s.before = [](stage& on) {
        on.w.put("a b");
        on.shut_all_gates();
    };
    return s;
}

} // namespace

TEST_CASE("cancelled at any moment: a prefetch")
{
    SUBCASE("of what nobody has")
    {
        cancel_at_any_moment(
            {.at_least = {2, 0}, .call = [](stage& s) { return s.w.launch(hits(s.w.prefetch("a b"), 0)); }});
    }
    SUBCASE("of what L1 has")
    {
        cancel_at_any_moment({.before = [](stage& s) { s.w.write("a b"); }, .call = prefetch_two});
    }
    SUBCASE("of what L2 has")
    {
        cancel_at_any_moment({.at_least = {3, 0}, .before = [](stage& s) { s.w.put("a b"); }, .call = prefetch_two});
    }
    SUBCASE("of what a slow L2 has")
    {
        cancel_at_any_moment(with_slow_l2({5, 3}));
    }
    SUBCASE("of what L1 and two adapters have, one of which is slow")
    {
        scene s{.at_least = {7, 6}, .options = {.adapters = 2}};
        s.before = [](stage& on) {
            on.w.write("a");
            on.w.put(*on.w.adapters[0], "b c");
            on.w.put(*on.w.adapters[1], "c d");
            on.w.adapters[1]->lookups.shut();
            on.w.adapters[1]->loads.shut();
        };
        s.call = [](stage& on) { return on.w.launch(hits(on.w.prefetch("a b c d"), 4)); };
        cancel_at_any_moment(s);
    }
    SUBCASE("that evicts")
    {
        scene s = with_slow_l2({5, 3});
        s.before = [](stage& on) {
            fill_l1(on);
            on.w.put("a b");
            on.shut_all_gates();
        };
        cancel_at_any_moment(s);
    }
    SUBCASE("that L1 has room for in part")
    {
        scene s = with_slow_l2({5, 4});
        s.before = [](stage& on) {
            fill_l1(on);
            hold(on, "p q r s t u v");
            on.w.put("a b");
            on.shut_all_gates();
        };
        s.call = [](stage& on) { return on.w.launch(hits(on.w.prefetch("a b"), 1)); };
        cancel_at_any_moment(s);
    }
    SUBCASE("that waits for the memory of stores")
    {
        scene s = with_slow_l2({8, 6});
        s.before = [](stage& on) {
            fill_l1_with_stores(on);
            on.w.put("a b");
            on.shut_all_gates();
        };
        cancel_at_any_moment(s);
    }
    SUBCASE("in windows")
    {
        scene s = with_slow_l2({7, 5});
        s.options.limits.window_bytes = object_bytes;
        cancel_at_any_moment(s);
    }
    SUBCASE("of groups")
    {
        scene s{.at_least = {7, 5}};
        s.before = [](stage& on) {
            on.w.put("f0 f1 f2 s1 s2");
            on.shut_all_gates();
        };
        s.call = [](stage& on) { return on.w.launch(hits(on.w.manager.prefetch(prefetch_request{two_groups()}), 3)); };
        cancel_at_any_moment(s);
    }
    SUBCASE("for three readers")
    {
        scene s = with_slow_l2({5, 3});
        s.call = [](stage& on) {
            return on.w.launch(hits(on.w.manager.prefetch(on.w.request("a b").set_readers(3)), 2));
        };
        cancel_at_any_moment(s);
    }
    SUBCASE("that warms")
    {
        scene s = with_slow_l2({5, 3});
        s.call = [](stage& on) {
            return on.w.launch(hits(on.w.manager.prefetch(on.w.request("a b").set_lock(lock_mode::no)), 2));
        };
        cancel_at_any_moment(s);
    }
    SUBCASE("that joins the load of another")
    {
        scene s = with_slow_l2({3, 1});
        s.before = [](stage& on) {
            on.w.put("a b");
            on.w.l2.loads.shut();
            on.begin("a b");
        };
        s.afterwards = [](stage& on) { CHECK(on.others.front().take().prefix_hits == 2); };
        cancel_at_any_moment(s);
    }
    SUBCASE("whose load another has joined")
    {
        scene s = with_slow_l2({2, 1});
        s.before = [](stage& on) {
            on.w.put("a b");
            on.w.l2.loads.shut();
        };
        s.call = [](stage& on) {
            auto first = prefetch_two(on);
            on.begin("a b");
            return first;
        };
        s.afterwards = [](stage& on) { CHECK(on.others.front().take().prefix_hits == 2); };
        cancel_at_any_moment(s);
    }
    SUBCASE("that waits for its turn")
    {
        scene s = with_slow_l2({6, 4});
        s.options.limits.requests_in_flight = 1;
        s.before = [](stage& on) {
            on.w.put("a b c");
            on.shut_all_gates();
            on.w.l2.lookups.open();
            on.begin("c");
        };
        s.afterwards = [](stage& on) { CHECK(on.others.front().take().prefix_hits == 1); };
        cancel_at_any_moment(s);
    }
    SUBCASE("whose deadline passes")
    {
        scene s = with_slow_l2({3, 3});
        s.before = [](stage& on) {
            on.w.write("a");
            on.w.put("b");
            on.w.l2.loads.shut();
        };
        s.call = [](stage& on) {
            const auto deadline = on.w.time->now() + 2s;
            return on.w.launch(hits(on.w.manager.prefetch(on.w.request("a b").set_deadline(deadline)), {1, 2}));
        };
        s.meanwhile = [](stage& on) { on.w.time->advance(1s); };
        cancel_at_any_moment(s);
    }
    SUBCASE("by a completion token")
    {
        scene s = with_slow_l2({5, 3});
        s.call = [](stage& on) {
            return on.w.launch(hits(on.w.manager.async_prefetch(on.w.request("a b"), asio::use_awaitable), 2));
        };
        cancel_at_any_moment(s);
    }
    SUBCASE("whose loads fail")
    {
        scene s = with_slow_l2({5, 3});
        s.before = [](stage& on) {
            on.w.put("a b");
            on.w.l2.load_throws = true;
            on.shut_all_gates();
        };
        s.call = [](stage& on) { return on.w.launch(hits(on.w.prefetch("a b"), 0)); };
        s.afterwards = [](stage& on) { on.w.l2.load_throws = false; };
        cancel_at_any_moment(s);
    }
}

TEST_CASE("cancelled at any moment: a lookup, and the load of its ticket")
{
    scene s = with_slow_l2();
    const auto look_up = [](stage& on) { on.ticket = on.w.run(on.w.manager.lookup(on.w.request("a b"))); };
    SUBCASE("a lookup of what L1 and L2 have")
    {
        s.at_least = {3, 1};
        s.before = [](stage& on) {
            on.w.write("a");
            on.w.put("b");
            on.shut_all_gates();
        };
        s.call = [](stage& on) { return on.w.launch(tickets(on.w.manager.lookup(on.w.request("a b c")), 2)); };
    }
    SUBCASE("a lookup of what nobody has")
    {
        s.at_least = {3, 1};
        s.before = shut_all;
        s.call = [](stage& on) { return on.w.launch(tickets(on.w.manager.lookup(on.w.request("a b")), 0)); };
    }
    SUBCASE("a lookup by a completion token")
    {
        s.at_least = {3, 1};
        s.call = [](stage& on) {
            return on.w.launch(tickets(on.w.manager.async_lookup(on.w.request("a b"), asio::use_awaitable), 2));
        };
    }
    SUBCASE("the load of what L1 and L2 have")
    {
        s.at_least = {3, 1};
        s.before = [look_up](stage& on) {
            on.w.write("a");
            on.w.put("b");
            look_up(on);
            on.shut_all_gates();
        };
        s.call = [](stage& on) { return on.w.launch(hits(on.ticket->load(), 2)); };
    }
    SUBCASE("the load, by a completion token")
    {
        s.at_least = {3, 1};
        s.before = [look_up](stage& on) {
            on.w.put("a b");
            look_up(on);
            on.shut_all_gates();
        };
        s.call = [](stage& on) { return on.w.launch(hits(on.ticket->async_load(asio::use_awaitable), 2)); };
    }
    SUBCASE("the load of what has no room but that of stores")
    {
        s.at_least = {6, 4};
        s.before = [look_up](stage& on) {
            fill_l1_with_stores(on);
            on.w.put("a b");
            look_up(on);
            on.shut_all_gates();
        };
        s.call = [](stage& on) { return on.w.launch(hits(on.ticket->load(), 2)); };
    }
    cancel_at_any_moment(s);
}

TEST_CASE("cancelled at any moment: a wait for a prefetch that runs on its own")
{
    scene s = with_slow_l2();
    s.options.limits.window_bytes = object_bytes;
    s.before = [](stage& on) {
        on.w.put("a b c");
        on.shut_all_gates();
        on.handle = on.w.manager.submit_prefetch(on.w.request("a b c"));
    };
    SUBCASE("until it ends")
    {
        s.at_least = {9, 8};
        s.call = [](stage& on) { return on.w.launch(hits(on.handle->wait(), 3)); };
    }
    SUBCASE("until the first two are readable")
    {
        s.at_least = {9, 7};
        s.call = [](stage& on) { return on.w.launch(readable(on.handle->readable(2), 2)); };
    }
    SUBCASE("until it ends, by a completion token")
    {
        s.at_least = {9, 8};
        s.call = [](stage& on) { return on.w.launch(hits(on.handle->async_wait(asio::use_awaitable), 3)); };
    }
    SUBCASE("until more are readable than there are")
    {
        s.at_least = {12, 10};
        s.call = [](stage& on) { return on.w.launch(readable(on.handle->readable(5), 3)); };
    }
    s.afterwards = [](stage& on) { // the prefetch goes on
        auto result = on.handle->poll();
        if (result)
            CHECK(result->prefix_hits == 3);
    };
    cancel_at_any_moment(s);
}

TEST_CASE("cancelled at any moment: a reservation that waits for memory")
{
    scene s;
    s.call = [](stage& on) { return reserve_two(on, l1_error::none); };
    SUBCASE("there is some")
    {
        s.at_least = {2, 0};
    }
    SUBCASE("readers have it")
    {
        s.at_least = {5, 3};
        s.before = [](stage& on) {
            fill_l1(on);
            hold(on, "p q r s t u v");
            hold(on, "x");
        };
        s.meanwhile = let_go_of_leases;
    }
    SUBCASE("stores have it")
    {
        s.at_least = {3, 1};
        s.before = fill_l1_with_stores;
    }
    SUBCASE("another waits before it")
    {
        s.at_least = {4, 2};
        s.before = [](stage& on) {
            fill_l1_with_stores(on);
            on.w.put("m n");
            on.begin("m n");
        };
        s.afterwards = [](stage& on) { CHECK(on.others.front().take().prefix_hits == 2); };
    }
    SUBCASE("nobody lets go of it")
    {
        s.at_least = {50, 50};
        s.before = [](stage& on) {
            fill_l1(on);
            hold(on, "p q r s t u v x");
        };
        s.call = [](stage& on) { return reserve_two(on, l1_error::out_of_memory); };
    }
    cancel_at_any_moment(s);
}

TEST_CASE("cancelled at any moment: a flush")
{
    scene s{.call = [](stage& on) { return on.w.launch(on.w.manager.flush()); }};
    SUBCASE("of nothing")
    {
        s.at_least = {1, 0};
    }
    SUBCASE("of what slow adapters shall store")
    {
        s.at_least = {4, 2};
        s.options.adapters = 2;
        s.before = [](stage& on) {
            on.shut_all_gates();
            on.w.write("a b");
        };
        s.afterwards = [](stage& on) { CHECK(on.w.l2.objects.size() == 2); }; // the stores go on
    }
    SUBCASE("of what a slow adapter shall store, by a completion token")
    {
        s.at_least = {3, 1};
        s.before = [](stage& on) {
            on.shut_all_gates();
            on.w.write("a b");
        };
        s.call = [](stage& on) { return on.w.launch(on.w.manager.async_flush(asio::use_awaitable)); };
    }
    SUBCASE("of what an adapter refuses at first")
    {
        s.at_least = {2, 1};
        s.options.adapter.store_retries.attempts = 5;
        s.before = [](stage& on) {
            on.w.l2.store_throws = true;
            on.w.write("a b");
        };
        s.meanwhile = [](stage& on) {
            on.w.l2.store_throws = false;
            let_something_happen(on);
        };
        s.afterwards = [](stage& on) {
            on.w.l2.store_throws = false;
            on.w.pass(1s);
            CHECK(on.w.l2.objects.size() == 2);
        };
    }
    cancel_at_any_moment(s);
}

TEST_CASE("cancelled at any moment: the removal of an adapter, which goes on")
{
    scene s{.options = {.adapters = 2}};
    s.call = [](stage& on) { return on.w.launch(on.w.manager.remove_adapter(on.w.ids[0])); };
    SUBCASE("that has nothing to do")
    {
        s.at_least = {2, 1};
        s.before = shut_all;
    }
    SUBCASE("that has nothing to do, by a completion token")
    {
        s.at_least = {2, 1};
        s.before = shut_all;
        s.call = [](stage& on) {
            return on.w.launch(on.w.manager.async_remove_adapter(on.w.ids[0], asio::use_awaitable));
        };
    }
    SUBCASE("that loads and stores")
    {
        s.at_least = {10, 8};
        s.before = [](stage& on) {
            on.w.put("a b");
            on.shut_all_gates();
            on.w.write("c d");
            on.begin("a b");
        };
    }
    s.afterwards = [](stage& on) {
        on.w.settle();
        CHECK(on.w.l2.closed);
        CHECK(on.w.manager.status().adapters.size() == 1);
    };
    cancel_at_any_moment(s);
}

TEST_CASE("cancelled at any moment: the end of the engine, which comes all the same")
{
    scene s{.options = {.adapters = 2}};
    s.call = [](stage& on) { return on.w.launch(on.w.manager.close()); };
    SUBCASE("that has nothing to do")
    {
        s.at_least = {5, 3};
        s.before = shut_all;
    }
    SUBCASE("that loads, stores and is asked for memory")
    {
        s.at_least = {18, 16};
        s.before = [](stage& on) {
            on.w.put("a b");
            on.shut_all_gates();
            fill_l1(on);
            on.begin("a b");
            on.handle = on.w.manager.submit_prefetch(on.w.request("a b"));
            on.w.settle();
        };
    }
    s.afterwards = [](stage& on) {
        CHECK(on.w.adapters[0]->closed);
        CHECK(on.w.adapters[1]->closed);
    };
    s.works_afterwards = false;
    cancel_at_any_moment(s);
}
