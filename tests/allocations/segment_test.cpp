// A segment store that runs out of memory, at every place where its executor's thread asks for some.

#include "allocations/allocations.hpp"
#include "support/temporary_directory.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <doctest/doctest.h>
#include <filesystem>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <terrace/segment_adapter.hpp>

namespace asio = boost::asio;
using namespace terrace;
using namespace terrace::test;

namespace {

struct store_world {
    explicit store_world(const std::string& backend)
    {
        for (std::uint64_t n = 0; n < 6; ++n) {
            const auto& payload = payloads.emplace_back(5000, static_cast<std::byte>(n));
            items.emplace_back(object_key{"m", chunk_hash::from_number(n)}, memory_layout::bytes(5000), payload);
        }
        segment_options options{directory.path()};
        options.segment_bytes = 64 << 10;
        options.threads = 2;
        options.io = backend;
        adapter.emplace(options);
    }

    enum class answer { none, exception, all, some, given_up };

    /// One of the allocations fails, the others do not.
    answer store(std::size_t allocations_before_it = unlimited)
    {
        answer heard = answer::none;
        const auto ended = [&](std::exception_ptr failed, const bitmap& done) {
            heard = failed ? answer::exception : done.all() ? answer::all : answer::some;
        };
        allowed_allocations = allocations_before_it;
        try {
            asio::co_spawn(io, adapter->store(items), ended);
        } catch (const std::bad_alloc&) { // nothing has begun
            heard = answer::exception;
        }
        io.restart();
        try {
            io.run_for(std::chrono::seconds{10}); // by far enough: who is never answered waits for ever
        } catch (const std::bad_alloc&) { // Asio lets what an initiation throws out here, and the process hears of it
            heard = answer::given_up;
        }
        had_enough = allowed_allocations != unlimited;
        allowed_allocations = unlimited;
        return heard;
    }
    std::size_t load()
    {
        std::vector<std::vector<std::byte>> buffers(items.size(), std::vector<std::byte>(5000));
        std::vector<load_item> loads;
        for (std::size_t i = 0; i < items.size(); ++i)
            loads.emplace_back(items[i].key, items[i].layout, buffers[i]);
        std::size_t loaded = 0;
        asio::co_spawn(io, adapter->load(loads), [&](std::exception_ptr failed, const bitmap& done) {
            CHECK_FALSE(failed);
            loaded = done.count();
            done.for_each_set([&](std::size_t i) { CHECK(buffers[i] == payloads[i]); });
        });
        io.restart();
        io.run();
        return loaded;
    }

    asio::io_context io{1};
    test::temporary_directory directory;
    std::vector<std::vector<std::byte>> payloads;
    std::vector<store_item> items;
    std::optional<segment_adapter> adapter;
    bool had_enough = false; // the last store had all the memory that it asked for
};

} // namespace

TEST_CASE("segment adapter: a store for which there is no memory is answered all the same, and the next one works")
{
    std::string backend = "threads";
    SUBCASE("by threads") {}
    SUBCASE("by io_uring, where there is one")
    {
        backend = "auto";
    }
    bool enough = false;
    int answered = 0;
    for (std::size_t n = 0; !enough; ++n) {
        CAPTURE(n);
        REQUIRE(n < 1000);
        store_world w{backend};
        const auto heard = w.store(n);
        enough = w.had_enough;
        REQUIRE(heard != store_world::answer::none);
        if (heard == store_world::answer::given_up)
            continue;
        ++answered;
        if (heard == store_world::answer::all)
            CHECK(w.load() == w.items.size());
        REQUIRE(w.store() == store_world::answer::all);
        CHECK(w.load() == w.items.size());
    }
    CHECK(answered > 20);
}
