#include "bench/prefetcher.hpp"

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <exception>
#include <fmt/format.h>
#include <future>
#include <stdexcept>
#include <thread>

#include "bench/measure.hpp"

namespace terrace::bench {
namespace {

double microseconds_since(steady::time_point start)
{
    return std::chrono::duration<double, std::micro>(steady::now() - start).count();
}

void expect_hits(const prefetch_result& brought, expected_hits hits)
{
    if (brought.prefix_hits != hits.keys || brought.l1_hits != (hits.in_l1 ? hits.keys : 0))
        throw std::runtime_error(fmt::format("a prefetch brought {} keys from L2 and {} from L1; expected {} from {}",
                                             brought.l2_hits, brought.l1_hits, hits.keys, hits.in_l1 ? "L1" : "L2"));
}

/// Asked and answered on different threads.
struct answer {
    std::atomic<bool> there{false};
    std::exception_ptr failure;
    prefetch_result result;
};

/// Looks until it is there. Now and then it lets others have the processor, so that the answer comes even where there
/// are more threads than processors.
void spin_until(const std::atomic<bool>& there)
{
    constexpr unsigned looks_per_yield = 1'000;
    for (unsigned looks = 1; !there.load(std::memory_order_acquire); ++looks)
        if (looks % looks_per_yield == 0)
            std::this_thread::yield();
}

asio::awaitable<void> client(storage_manager& engine, request_queue& queue, expected_hits hits)
{
    while (!queue.empty()) {
        auto request = queue.take();
        const prefetch_result brought = co_await engine.prefetch(std::move(request));
        expect_hits(brought, hits);
    }
}

} // namespace

void request_queue::refill(std::size_t requests)
{
    requests_.clear();
    requests_.reserve(requests);
    next_ = 0;
    const auto sets = keys_.size() / per_request_;
    for (std::size_t i = 0; i < requests; ++i, next_set_ = (next_set_ + 1) % sets) {
        const auto keys = keys_.subspan(next_set_ * per_request_, per_request_);
        requests_.emplace_back(std::vector<object_key>{keys.begin(), keys.end()}, layout_);
    }
}

asio::awaitable<void> prefetch_on_executor(storage_manager& engine, request_queue& queue, expected_hits hits,
                                           std::vector<double>& waits_us)
{
    while (!queue.empty()) {
        auto request = queue.take();
        {
            const auto asked = steady::now();
            const prefetch_result brought = co_await engine.prefetch(std::move(request));
            waits_us.push_back(microseconds_since(asked));
            expect_hits(brought, hits);
        }
        co_await asio::post(asio::use_awaitable); // what the engine does after its answer is done before the next call
    }
}

void prefetch_and_sleep(storage_manager& engine, request_queue& queue, expected_hits hits,
                        std::vector<double>& waits_us)
{
    while (!queue.empty()) {
        auto request = queue.take();
        const auto asked = steady::now();
        const auto brought = engine.async_prefetch(std::move(request), asio::use_future).get();
        waits_us.push_back(microseconds_since(asked));
        expect_hits(brought, hits);
    }
}

void prefetch_and_spin(storage_manager& engine, request_queue& queue, expected_hits hits, std::vector<double>& waits_us)
{
    while (!queue.empty()) {
        auto request = queue.take();
        answer got;
        const auto asked = steady::now();
        engine.async_prefetch(std::move(request), [&got](std::exception_ptr failure, prefetch_result result) {
            got.failure = std::move(failure);
            got.result = std::move(result);
            got.there.store(true, std::memory_order_release);
        });
        spin_until(got.there);
        waits_us.push_back(microseconds_since(asked));
        if (got.failure)
            std::rethrow_exception(got.failure);
        expect_hits(got.result, hits);
    }
}

asio::awaitable<void> prefetch_side_by_side(storage_manager& engine, request_queue& queue, expected_hits hits,
                                            std::size_t clients)
{
    const auto executor = co_await asio::this_coro::executor;
    auto start = [&] { return asio::co_spawn(executor, client(engine, queue, hits), asio::deferred); };
    std::vector<decltype(start())> running;
    for (std::size_t i = 0; i < clients; ++i)
        running.push_back(start());
    auto all = asio::experimental::make_parallel_group(std::move(running));
    auto [order, failures] = co_await all.async_wait(asio::experimental::wait_for_all(), asio::use_awaitable);
    for (const auto& failure : failures)
        if (failure)
            std::rethrow_exception(failure);
}

void round_trips_asleep(asio::io_context& context, std::size_t n, std::vector<double>& trips_us)
{
    for (std::size_t i = 0; i < n; ++i) {
        const auto start = steady::now();
        asio::post(context, asio::use_future([] {})).get();
        trips_us.push_back(microseconds_since(start));
    }
}

void round_trips_spinning(asio::io_context& context, std::size_t n, std::vector<double>& trips_us)
{
    for (std::size_t i = 0; i < n; ++i) {
        std::atomic<bool> back{false};
        const auto start = steady::now();
        asio::post(context, [&back] { back.store(true, std::memory_order_release); });
        spin_until(back);
        trips_us.push_back(microseconds_since(start));
    }
}

} // namespace terrace::bench
