#include "../../adapters/io/src/io_pool.hpp"

#include <atomic>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <doctest/doctest.h>
#include <latch>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

namespace asio = boost::asio;
using terrace::io::io_pool;

namespace {

/// An executor to await on, and how the awaited call ended.
struct world {
    asio::io_context context;
    asio::cancellation_signal cancel;
    std::optional<std::exception_ptr> ended;

    void start(asio::awaitable<void> operation)
    {
        ended.reset();
        const auto end = [this](std::exception_ptr e) { ended = e; };
        asio::co_spawn(context, std::move(operation), asio::bind_cancellation_slot(cancel.slot(), end));
    }
    void run()
    {
        context.restart();
        context.run();
    }
    void run(asio::awaitable<void> operation)
    {
        start(std::move(operation));
        run();
        REQUIRE(ended.has_value());
        if (*ended)
            std::rethrow_exception(*ended);
    }
};

} // namespace

TEST_CASE("io_pool: every item is worked on once, by the pool's threads")
{
    for (const std::size_t grain : {1U, 3U, 1000U}) {
        world w;
        io_pool pool{4};
        std::vector<std::atomic<int>> times(100);
        std::atomic<int> here = 0;
        const auto me = std::this_thread::get_id();
        const io_pool::work count = [&](std::size_t i) {
            ++times[i];
            here += std::this_thread::get_id() == me ? 1 : 0;
        };
        w.run(pool.for_each(times.size(), grain, count));
        for (const auto& n : times)
            CHECK(n == 1);
        CHECK(here == 0);
    }
}

TEST_CASE("io_pool: a batch of nothing completes")
{
    world w;
    io_pool pool{2};
    const io_pool::work never = [](std::size_t) { FAIL("called"); };
    w.run(pool.for_each(0, 1, never));
}

TEST_CASE("io_pool: cancelled, a batch ends with the items begun, and not before")
{
    world w;
    io_pool pool{1};
    std::latch begun{1};
    std::latch go_on{1};
    std::atomic<int> done = 0;
    const io_pool::work wait = [&](std::size_t) {
        begun.count_down();
        go_on.wait();
        ++done;
    };
    w.start(pool.for_each(10, 1, wait));
    w.context.run_one();
    begun.wait();
    w.cancel.emit(asio::cancellation_type::terminal);
    w.context.poll();
    CHECK(!w.ended); // the item has not
    go_on.count_down();
    w.run();
    REQUIRE(w.ended.has_value());
    CHECK(!*w.ended);
    CHECK(done == 1);
}

TEST_CASE("io_pool: what an item throws reaches the awaiting coroutine")
{
    world w;
    io_pool pool{2};
    std::atomic<int> calls = 0;
    const io_pool::work fail = [&](std::size_t) {
        ++calls;
        throw std::runtime_error("no");
    };
    CHECK_THROWS_WITH_AS(w.run(pool.for_each(1000, 1, fail)), "no", std::runtime_error);
    CHECK(calls <= 2);
}

TEST_CASE("io_pool: a small batch does not wait for a large one")
{
    asio::io_context context;
    io_pool pool{1};
    std::latch begun{1};
    std::latch queued{1};
    std::vector<int> order; // of one thread
    const io_pool::work large = [&](std::size_t) {
        begun.count_down();
        queued.wait();
        order.push_back(1);
    };
    const io_pool::work small = [&](std::size_t) { order.push_back(2); };
    const auto end = [](std::exception_ptr) {};
    asio::co_spawn(context, pool.for_each(3, 1, large), end);
    context.run_one();
    begun.wait();
    asio::co_spawn(context, pool.for_each(1, 1, small), end);
    context.run_one();
    queued.count_down();
    context.run();
    CHECK(order == std::vector{1, 2, 1, 1});
}

TEST_CASE("io_pool: closing waits for the item under way and leaves out the rest")
{
    world w;
    io_pool pool{1};
    std::latch begun{1};
    std::latch go_on{1};
    std::atomic<int> done = 0;
    const io_pool::work wait = [&](std::size_t) {
        begun.count_down();
        go_on.wait();
        ++done;
    };
    w.start(pool.for_each(10, 1, wait));
    w.context.run_one();
    begun.wait();

    SUBCASE("awaited")
    {
        bool closed = false;
        asio::co_spawn(w.context, pool.close(), [&](std::exception_ptr) { closed = true; });
        w.context.poll();
        CHECK(!closed);
        go_on.count_down();
        w.run();
        CHECK(closed);
        CHECK(w.ended.has_value());
        CHECK(done == 1);
    }
    SUBCASE("in the calling thread")
    {
        std::jthread later{[&] { go_on.count_down(); }};
        pool.stop();
        const int before = done; // one, or more if the latch was quicker than stop()
        CHECK(before >= 1);
        w.run();
        CHECK(w.ended.has_value());
        CHECK(done == before);
    }
}
