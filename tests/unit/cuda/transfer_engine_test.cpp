#include "../../../lib/cuda/src/transfer_run.hpp"
#include "support/device_world.hpp"

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>
#include <stdexcept>
#include <thread>

using namespace terrace;
using namespace terrace::test;
using cuda::gather_request;
using cuda::scatter_request;
using cuda::transfer_handle;

namespace {

const boost::system::error_code device_error{EIO, boost::system::generic_category()};

/// One object to a job, so many jobs at a time.
cuda::transfer_limits jobs_of_one(std::uint32_t jobs)
{
    return {.jobs = jobs, .job_bytes = object_bytes};
}

} // namespace

TEST_CASE("transfer: a scatter brings objects to their pages, and holds them until the last byte is there")
{
    device_world d{jobs_of_one(1)};
    d.w.write("a b");
    auto moving = d.w.start(d.engine.scatter(d.scatter("a b")));
    CHECK(d.backend->log == "s0-3x1 ");
    CHECK(d.w.l1().locks == 2);
    d.backend->end();
    d.w.settle();
    CHECK(d.backend->log == "s0-3x1 s0-3x1 ");
    CHECK(d.w.l1().locks == 2);
    CHECK_FALSE(moving.done());
    d.backend->end();
    d.w.settle();
    moving.take();
    CHECK(d.w.l1().locks == 0);
    d.expect_scattered("a", 0);
    d.expect_scattered("b", 1);
    CHECK(d.pages.as_expected());
    CHECK(d.engine.status().scattered_bytes == 2 * object_bytes);
    CHECK(d.engine.status().completed == 1);
    d.w.close();
}

TEST_CASE("transfer: a gather fills staged objects, and gives them back to be committed")
{
    device_world d;
    d.w.write("b"); // is resident, and is not reserved
    auto moving = d.w.start(d.engine.gather(d.gather("a b c")));
    CHECK(d.w.l1().staged_objects == 2);
    CHECK(d.backend->log == "g0-3x2 ");
    d.run_device();
    auto lease = moving.take();
    CHECK_FALSE(d.w.resident("a"));
    lease.commit();
    auto read = d.read("a b c");
    REQUIRE(read.size() == 3);
    CHECK(intact(d.read("b")) == true);
    for (const std::size_t i : {std::size_t{0}, std::size_t{2}}) {
        std::vector<std::byte> expected(object_bytes);
        d.pages.expect_gathered(d.objects, d.chunks(3)[i], {0, 4}, expected);
        CHECK(std::ranges::equal(read.bytes(i), expected));
    }
    read = {};
    CHECK(d.engine.status().gathered_bytes == 2 * object_bytes);
    d.w.close();
}

TEST_CASE("transfer: nothing to move is done at once")
{
    device_world d;
    d.w.write("a");
    auto moving = d.w.start(d.engine.gather(d.gather("a"))); // nothing was reserved
    CHECK(moving.take().size() == 1);
    CHECK(d.backend->jobs == 0);
    CHECK(d.engine.status().transfers == 0);
    d.w.close();
}

TEST_CASE("transfer: layers arrive one after the other, while the next ones move")
{
    device_world d{{.jobs = 2}};
    d.w.write("a b");
    auto handle = d.engine.submit_scatter(d.scatter("a b").set_layers_per_step(1));
    CHECK(d.backend->log == "s0x2 s1x2 ");
    auto first = d.w.start(handle.layer(0));
    auto second = d.w.start(handle.layer(1));
    auto all = d.w.start(handle.wait());
    CHECK_FALSE(first.done());
    SUBCASE("in order")
    {
        d.backend->end();
        d.w.settle();
        CHECK(first.done());
        CHECK(d.backend->log == "s0x2 s1x2 s2x2 ");
        CHECK_FALSE(second.done());
        d.backend->end();
        d.w.settle();
        CHECK(second.done());
        CHECK_FALSE(all.done());
    }
    SUBCASE("a later one that arrives first is not there before those in front of it")
    {
        d.backend->end({}, 1);
        d.w.settle();
        CHECK_FALSE(first.done());
        CHECK_FALSE(second.done());
        d.backend->end();
        d.w.settle();
        CHECK(first.done());
        CHECK(second.done());
    }
    d.run_device();
    all.take();
    d.w.run(handle.layer(3)); // has been there for long
    d.expect_scattered("a", 0);
    d.expect_scattered("b", 1);
    CHECK(d.pages.as_expected());
    CHECK_THROWS_WITH_AS(d.w.run(handle.layer(4)), "transfer handle: layer 4 of 4", std::invalid_argument);
    d.w.close();
}

TEST_CASE("transfer: cancelled, it starts nothing more, and ends when the device has let go")
{
    device_world d{jobs_of_one(2)};
    d.w.write("a b c");
    auto moving = d.w.start(d.engine.scatter(d.scatter("a b c")));
    CHECK(d.backend->jobs == 2);
    moving.cancel();
    d.w.settle();
    CHECK_FALSE(moving.done());
    CHECK(d.w.l1().locks == 3);
    d.backend->end();
    d.w.settle();
    CHECK_FALSE(moving.done());
    CHECK(d.w.l1().locks == 3);
    d.backend->end();
    d.w.settle();
    CHECK(moving.was_aborted());
    CHECK(d.w.l1().locks == 0);
    CHECK(d.backend->jobs == 2);
    CHECK(d.engine.status().cancelled == 1);
    d.w.close();
}

TEST_CASE("transfer: a cancelled gather keeps its buffers until the device has let go, and nobody sees them")
{
    device_world d{jobs_of_one(1)};
    auto moving = d.w.start(d.engine.gather(d.gather("a b")));
    moving.cancel();
    d.w.settle();
    CHECK(d.w.l1().staged_objects == 2);
    d.run_device();
    CHECK(moving.was_aborted());
    CHECK(d.w.l1().staged_objects == 0);
    CHECK_FALSE(d.w.resident("a"));
    d.w.close();
}

TEST_CASE("transfer: a cancellation that comes when all has begun changes nothing")
{
    device_world d;
    auto moving = d.w.start(d.engine.gather(d.gather("a b")));
    moving.cancel();
    d.w.settle();
    CHECK_FALSE(moving.done());
    d.run_device();
    CHECK(moving.take().leading() == 2);
    CHECK(d.engine.status().completed == 1);
    d.w.close();
}

TEST_CASE("transfer: cancelled after any number of steps, nothing is left")
{
    for (int steps = 0;; ++steps) {
        CAPTURE(steps);
        device_world d{jobs_of_one(2)};
        d.w.write("a b c");
        auto there = d.w.start(d.engine.scatter(d.scatter("a b c")));
        auto back = d.w.start(d.engine.gather(d.gather("d e f")));
        for (int i = 0; i < steps && !d.backend->line.empty(); ++i) {
            d.backend->end();
            d.w.settle();
        }
        const bool ended = there.done() && back.done();
        there.cancel();
        back.cancel();
        d.w.settle();
        d.run_device();
        CHECK(there.done());
        CHECK(back.done());
        if (!back.was_aborted())
            back.take();
        CHECK(d.engine.status().transfers == 0);
        CHECK(d.engine.status().jobs_in_flight == 0);
        d.w.close();
        if (ended)
            break;
    }
}

TEST_CASE("transfer: a waiter that is cancelled leaves, and the transfer goes on")
{
    device_world d;
    d.w.write("a");
    auto handle = d.engine.submit_scatter(d.scatter("a"));
    auto waiting = d.w.start(handle.wait());
    auto layer = d.w.start(handle.layer(0));
    waiting.cancel();
    layer.cancel();
    d.w.settle();
    CHECK(waiting.was_aborted());
    CHECK(layer.was_aborted());
    d.run_device();
    d.w.run(handle.wait());
    CHECK(d.engine.status().completed == 1);
    d.w.close();
}

TEST_CASE("transfer: a handle that is dropped stops it, and the lease outlives the handle")
{
    device_world d{jobs_of_one(1)};
    d.w.write("a b");
    auto handle = d.engine.submit_scatter(d.scatter("a b"));
    handle = transfer_handle{};
    CHECK(d.w.l1().locks == 2);
    d.run_device();
    CHECK(d.w.l1().locks == 0);
    CHECK(d.backend->jobs == 1);
    CHECK(d.engine.status().cancelled == 1);
    CHECK_THROWS_AS(handle.cancel(), std::invalid_argument);
    d.w.close();
}

TEST_CASE("transfer: what the device reports ends it, after its other jobs")
{
    device_world d{jobs_of_one(2)};
    d.w.write("a b c");
    auto moving = d.w.start(d.engine.scatter(d.scatter("a b c")));
    d.backend->end(device_error);
    d.w.settle();
    CHECK_FALSE(moving.done());
    CHECK(d.w.l1().locks == 3);
    d.backend->end();
    d.w.settle();
    CHECK(d.backend->jobs == 2);
    CHECK_THROWS_WITH_AS(moving.take(), doctest::Contains("scatter of layers 0 to 3: Input/output error"),
                         boost::system::system_error);
    CHECK(d.w.l1().locks == 0);
    CHECK(d.engine.status().failed == 1);

    SUBCASE("a gather's objects are discarded unseen")
    {
        auto gathering = d.w.start(d.engine.gather(d.gather("d")));
        CHECK(d.w.l1().staged_objects == 1);
        d.backend->end(device_error);
        d.w.settle();
        CHECK_THROWS_AS(gathering.take(), boost::system::system_error);
        CHECK(d.w.l1().staged_objects == 0);
    }
    SUBCASE("who comes later hears of it too")
    {
        auto handle = d.engine.submit_scatter(d.scatter("a"));
        d.backend->end(device_error);
        d.w.settle();
        CHECK_THROWS_AS(d.w.run(handle.wait()), boost::system::system_error);
        CHECK_THROWS_AS(d.w.run(handle.layer(0)), boost::system::system_error);
        CHECK(handle.take().size() == 0);
    }
    d.w.close();
}

TEST_CASE("transfer: those of one direction begin in order, and the other direction does not wait for them")
{
    device_world d{jobs_of_one(1)};
    d.w.write("a b");
    auto first = d.engine.submit_scatter(d.scatter("a b"));
    auto second = d.engine.submit_scatter(d.scatter("a").set_layers_per_step(2));
    auto other = d.engine.submit_gather(d.gather("c"));
    CHECK(d.backend->log == "s0-3x1 g0-3x1 ");
    first.cancel();
    d.backend->end();
    d.w.settle();
    CHECK(d.backend->log == "s0-3x1 g0-3x1 s0-1x1 "); // the second of the first was not begun
    d.run_device();
    d.w.run(second.wait());
    d.w.run(other.wait());
    CHECK(other.take().leading() == 1);
    d.w.close();
}

TEST_CASE("transfer: jobs that end within start() do not recurse, nor complete within the call")
{
    device_world d{jobs_of_one(1), {.l1_objects = 8}};
    d.backend->at_once = true;
    d.w.write("a b c d e f");
    auto handle = d.engine.submit_scatter(d.scatter("a b c d e f"));
    CHECK(d.backend->jobs == 1);
    d.w.run(handle.wait());
    CHECK(d.backend->jobs == 6);
    d.w.close();
}

TEST_CASE("transfer: a request that does not fit its lease is refused, and nothing has changed")
{
    device_world d;
    d.w.write("a b");
    const auto pages = d.pages.layout();
    const auto refused = [&](scatter_request request) {
        CHECK_THROWS_AS((void)d.engine.submit_scatter(std::move(request)), std::invalid_argument);
    };
    refused({d.read("a b"), pages, d.objects, d.chunks(1)});
    refused({d.read("a"), pages, d.objects, d.chunks(2)});
    refused(scatter_request{d.read("a b"), pages, d.objects, d.chunks(2)}.set_first_object(1));
    refused(scatter_request{d.read("a b"), pages, d.objects, d.chunks(2)}.set_first_object(3));
    refused({d.read("a b"), pages, cuda::object_layout{8}, d.chunks(2)});
    refused({d.read("a"), pages, d.objects, {cuda::paged_chunk{{99, 1}}}});
    CHECK(d.w.l1().locks == 0);
    CHECK(d.backend->jobs == 0);
    CHECK_THROWS_AS(cuda::transfer_engine(d.w.io.get_executor(), nullptr), std::invalid_argument);
    CHECK_THROWS_AS(cuda::transfer_engine(d.w.io.get_executor(), d.backend, {.jobs = 0}), std::invalid_argument);
    d.w.close();
}

TEST_CASE("transfer: close() stops what waits, and joins what the device has begun")
{
    device_world d{jobs_of_one(1)};
    d.w.write("a b");
    auto running = d.w.start(d.engine.scatter(d.scatter("a b")));
    auto waiting = d.w.start(d.engine.scatter(d.scatter("a")));
    auto closing = d.w.start(d.engine.close());
    CHECK(waiting.was_aborted());
    CHECK_FALSE(closing.done());
    CHECK(d.w.l1().locks == 2);
    d.run_device();
    CHECK(running.was_aborted());
    CHECK(closing.done());
    CHECK(d.w.l1().locks == 0);
    CHECK(d.backend->jobs == 1);
    CHECK_THROWS_AS((void)d.engine.submit_scatter(d.scatter("a")), boost::system::system_error);
    CHECK(d.w.l1().locks == 0);
    d.w.close();
}

TEST_CASE("transfer: it ends without its engine, and the executor does not run dry before")
{
    asio::io_context io{1};
    const auto backend = std::make_shared<scripted_backend>();
    std::mt19937_64 random{1};
    const engine_tensors tensors{"",
                                 {1, 1, 4, 4, 1, 8, dtype::bf16},
                                 {cuda::axis::layer, cuda::axis::kv, cuda::axis::page, cuda::axis::token,
                                  cuda::axis::head, cuda::axis::element}};
    const cuda::object_layout objects{8};
    paged_memory pages{*backend, tensors, random};
    config c;
    c.l1.capacity_bytes = 1 << 20;
    storage_manager manager{io.get_executor(), c};
    auto lease = manager.reserve_write(keys("a"), objects.memory(tensors.shape));
    {
        cuda::transfer_engine engine{io.get_executor(), backend};
        std::vector<cuda::paged_chunk> chunks{cuda::paged_chunk{{2, 3}}};
        auto handle = engine.submit_gather({std::move(lease), pages.layout(), objects, std::move(chunks)});
        REQUIRE(backend->line.size() == 1);
    }
    CHECK(manager.status().l1.staged_objects == 1);
    // run() has nothing to do but to wait for the device, which is another thread's matter.
    std::jthread device{[&] { backend->end(); }};
    io.run();
    CHECK(manager.status().l1.staged_objects == 0);
}

TEST_CASE("transfer: steps hold as many objects as keep them within a job's bytes, layers first")
{
    const auto words = [](const std::vector<std::uint64_t>& bytes, std::uint32_t layers, std::uint32_t per_step,
                          std::uint64_t job_bytes) {
        std::string result;
        for (const auto& s : cuda::detail::cut_into_steps(bytes, layers, per_step, job_bytes))
            result += std::to_string(s.layers.first) + "-" + std::to_string(s.layers.last) + ":" +
                      std::to_string(s.first_item) + "-" + std::to_string(s.last_item) + "=" + std::to_string(s.bytes) +
                      " ";
        return result;
    };
    CHECK(words({10, 10, 10}, 4, 0, 80) == "0-4:0-2=80 0-4:2-3=40 ");
    CHECK(words({10, 10, 10}, 4, 0, 1) == "0-4:0-1=40 0-4:1-2=40 0-4:2-3=40 ");
    CHECK(words({10, 10, 10}, 5, 2, 60) == "0-2:0-3=60 2-4:0-3=60 4-5:0-3=30 ");
    CHECK(words({10, 50, 10}, 1, 9, 60) == "0-1:0-2=60 0-1:2-3=10 ");
    CHECK(words({}, 4, 0, 80) == "");
}
