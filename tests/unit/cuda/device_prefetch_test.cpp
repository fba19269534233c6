#include "support/device_world.hpp"

#include <doctest/doctest.h>
#include <stdexcept>

using namespace terrace;
using namespace terrace::test;

namespace {

world_options one_load_each()
{
    world_options options;
    options.limits.window_bytes = object_bytes;
    return options;
}

asio::awaitable<cuda::device_prefetch_result> feed_device(device_world& d, std::string_view words, std::size_t window)
{
    auto handle = d.w.manager.submit_prefetch(d.w.request(words));
    return cuda::scatter_prefetch(d.engine, std::move(handle), d.pages.layout(), d.objects,
                                  d.chunks(keys(words).size()), window);
}

} // namespace

TEST_CASE("device prefetch: windows go to the device as they land in L1")
{
    device_world d{{}, one_load_each()};
    d.w.put("a b c d e");
    d.w.l2.loads.shut();
    auto feeding = d.w.start(feed_device(d, "a b c d e", 2));
    CHECK(d.backend->jobs == 0);
    d.w.l2.loads.let_one_pass();
    d.w.settle();
    CHECK(d.backend->jobs == 0);
    d.w.l2.loads.let_one_pass();
    d.w.settle();
    CHECK(d.backend->log == "s0-3x2 ");
    d.w.l2.loads.let_one_pass(); // the rest still loads, the device is still at the first
    d.w.l2.loads.let_one_pass();
    d.w.settle();
    CHECK(d.backend->log == "s0-3x2 s0-3x2 ");
    d.w.l2.loads.open();
    d.w.settle();
    CHECK(d.backend->log == "s0-3x2 s0-3x2 s0-3x1 ");
    CHECK_FALSE(feeding.done());
    d.run_device();
    const auto result = feeding.take();
    CHECK(result.scattered == 5);
    CHECK(result.prefetched.prefix_hits == 5);
    for (std::size_t i = 0; i < 5; ++i)
        d.expect_scattered(std::string_view{"abcde"}.substr(i, 1), i);
    CHECK(d.pages.as_expected());
}

TEST_CASE("device prefetch: what is not there is not scattered")
{
    device_world d{{}, one_load_each()};
    d.w.put("a b d");
    auto feeding = d.w.start(feed_device(d, "a b c d", 3));
    CHECK(d.backend->log == "s0-3x2 ");
    d.run_device();
    const auto result = feeding.take();
    CHECK(result.scattered == 2);
    CHECK(result.prefetched.prefix_hits == 2);
    d.expect_scattered("a", 0);
    d.expect_scattered("b", 1);
    CHECK(d.pages.as_expected());
}

TEST_CASE("device prefetch: cancelled, it ends when the device has let go, and gives everything back")
{
    device_world d{{}, one_load_each()};
    d.w.put("a b c");
    d.w.l2.loads.shut();
    auto feeding = d.w.start(feed_device(d, "a b c", 1));
    d.w.l2.loads.let_one_pass();
    d.w.settle();
    CHECK(d.backend->jobs == 1);
    feeding.cancel();
    d.w.settle();
    CHECK_FALSE(feeding.done());
    d.w.l2.loads.open();
    d.w.settle();
    CHECK_FALSE(feeding.done());
    CHECK(d.w.l1().locks == 1); // the lease of what is on its way
    d.run_device();
    CHECK(feeding.was_aborted());
    CHECK(d.backend->jobs == 1);
    d.w.close();
}

TEST_CASE("device prefetch: cancelled, what of a window the device has not begun is left out")
{
    cuda::transfer_limits one_object_at_a_time;
    one_object_at_a_time.jobs = 1;
    one_object_at_a_time.job_bytes = object_bytes;
    device_world d{one_object_at_a_time, one_load_each()};
    d.w.put("a b");
    auto feeding = d.w.start(feed_device(d, "a b", 2));
    CHECK(d.backend->log == "s0-3x1 ");
    feeding.cancel();
    d.w.settle();
    d.run_device();
    CHECK(feeding.was_aborted());
    CHECK(d.backend->jobs == 1);
    d.w.close();
}

TEST_CASE("device prefetch: cancelled while nothing moves, it ends at once")
{
    device_world d;
    d.w.put("a");
    d.w.l2.loads.shut();
    auto feeding = d.w.start(feed_device(d, "a", 1));
    feeding.cancel();
    d.w.settle();
    CHECK(feeding.was_aborted());
    d.w.l2.loads.open();
    d.w.settle();
    CHECK(d.backend->jobs == 0);
    d.w.close();
}

TEST_CASE("device prefetch: what the device reports ends it, after all that it has begun")
{
    device_world d{{}, one_load_each()};
    d.w.put("a b");
    auto feeding = d.w.start(feed_device(d, "a b", 1));
    CHECK(d.backend->jobs == 2);
    d.backend->end(boost::system::error_code{EIO, boost::system::generic_category()});
    d.w.settle();
    CHECK_FALSE(feeding.done());
    d.run_device();
    CHECK_THROWS_AS(feeding.take(), boost::system::system_error);
    d.w.close();
}

TEST_CASE("device prefetch: a window of nothing and an empty handle are refused")
{
    device_world d;
    CHECK_THROWS_AS(d.w.run(feed_device(d, "a", 0)), std::invalid_argument);
    CHECK_THROWS_AS(d.w.run(cuda::scatter_prefetch(d.engine, prefetch_handle{}, d.pages.layout(), d.objects, {})),
                    std::invalid_argument);
    d.w.close();
}
