// What a request allocates once the engine is warm, and what is left when it cannot. A program of its own, as it
// replaces operator new.

#include "allocations/allocations.hpp"
#include "l1/l1_cache.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <cstdlib>
#include <doctest/doctest.h>
#include <future>
#include <new>
#include <string>
#include <vector>

#include <terrace/terrace.hpp>

namespace asio = boost::asio;
using namespace terrace;
using namespace terrace::test;

namespace {

void* counted(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t))
{
    ++allocations;
    if (allowed_allocations != unlimited && allowed_allocations-- == 0) {
        allowed_allocations = unlimited;
        throw std::bad_alloc{};
    }
    if (void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment))
        return memory;
    throw std::bad_alloc{};
}

} // namespace

// The other forms come down to these.
void* operator new(std::size_t bytes)
{
    return counted(bytes == 0 ? 1 : bytes);
}
void* operator new(std::size_t bytes, std::align_val_t alignment)
{
    return counted(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept
{
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept
{
    std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept
{
    std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept
{
    std::free(memory);
}

namespace {

const auto layout = memory_layout::bytes(4096);

/// So many allocations succeed while this lives, and the one after them fails.
struct no_memory_after {
    explicit no_memory_after(std::size_t n) { allowed_allocations = n; }
    ~no_memory_after() { allowed_allocations = unlimited; }
};

/// An engine without adapters, whose L1 has some objects.
struct warm_engine {
    asio::io_context io{1};
    storage_manager manager{io.get_executor()};

    static std::vector<object_key> keys(std::size_t n)
    {
        const std::vector<std::uint32_t> tokens(n * 256, 7);
        return token_hasher{256}.keys(tokens, "model");
    }

    ~warm_engine()
    {
        auto closed = manager.async_close(asio::use_future);
        run(closed);
    }

    template <class T>
    T run(std::future<T>& result)
    {
        io.restart();
        io.run();
        return result.get();
    }

    /// What each of the calls after the first few has allocated, at most.
    template <class Call>
    std::size_t most_allocations(Call call)
    {
        auto counting = [&]() -> asio::awaitable<std::size_t> {
            std::size_t most = 0;
            for (int i = 0; i < 20; ++i) {
                const std::size_t in_this = co_await call();
                if (i >= 10)
                    most = std::max(most, in_this);
            }
            co_return most;
        };
        auto result = asio::co_spawn(io, counting(), asio::use_future);
        return run(result);
    }
};

} // namespace

TEST_CASE("a prefetch of what is in L1 allocates nothing, however many keys it has")
{
    for (const std::size_t n : {1U, 64U, 256U}) {
        CAPTURE(n);
        warm_engine engine;
        const auto keys = warm_engine::keys(n);
        engine.manager.reserve_write(keys, layout).commit();
        CHECK(engine.most_allocations([&]() -> asio::awaitable<std::size_t> {
            prefetch_request request{keys, layout}; // the caller's own
            const std::size_t before = allocations;
            {
                const auto result = co_await engine.manager.prefetch(std::move(request));
                CHECK(result.l1_hits == n);
            }
            co_return allocations - before;
        }) == 0);
    }
}

TEST_CASE("reading what is in L1 allocates nothing")
{
    warm_engine engine;
    const auto keys = warm_engine::keys(256);
    engine.manager.reserve_write(keys, layout).commit();
    CHECK(engine.most_allocations([&]() -> asio::awaitable<std::size_t> {
        const std::size_t before = allocations;
        CHECK(engine.manager.read(keys).size() == keys.size());
        co_return allocations - before;
    }) == 0);
}

TEST_CASE("who locks objects that are not stored yet, and finds no memory for it, locks nothing")
{
    l1_config cfg;
    cfg.capacity_bytes = 64 * layout.size_bytes();
    cfg.huge_pages = huge_page_mode::off;
    auto l1 = std::make_shared<l1_cache>(cfg, eviction_policy::make("lru"), cfg.capacity_bytes);
    const auto keys = warm_engine::keys(64);
    const layout_run all{keys.size(), layout};
    const bitmap every{keys.size(), true};
    l1->reserve_write(keys, layout, write_mode::new_only, l1_cache::on_shortage::give_up)->commit();
    l1->offer_when_wanted(l1->read(keys, 1), every, write_mode::new_only); // as after a store that failed

    bool locks_them = false;
    SUBCASE("to read them")
    {
        for (std::size_t enough = 0; !locks_them; ++enough) {
            try {
                const no_memory_after so_many{enough};
                locks_them = l1->read(keys, 1).size() == keys.size();
            } catch (const std::bad_alloc&) {
            }
            REQUIRE(l1->status().locks == 0);
        }
    }
    SUBCASE("for a prefetch")
    {
        for (std::size_t enough = 0; !locks_them; ++enough) {
            try {
                const no_memory_after so_many{enough};
                locks_them = l1->pin(keys, {&all, 1}, 1).present().all();
            } catch (const std::bad_alloc&) {
            }
            REQUIRE(l1->status().locks == 0);
        }
    }
}

TEST_CASE("the count sees what is allocated")
{
    warm_engine engine;
    CHECK(engine.most_allocations([&]() -> asio::awaitable<std::size_t> {
        const std::size_t before = allocations;
        const std::vector<std::string> two(2, std::string(100, 'a'));
        CHECK(two.size() == 2);
        co_return allocations - before;
    }) == 4); // the vector, the two strings, and the one that they are copies of
}
