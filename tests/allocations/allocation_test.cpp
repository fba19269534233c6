// What a request allocates once the engine is warm. A program of its own, as it replaces operator new.

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

namespace {

thread_local std::size_t allocations = 0;

void* counted(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t))
{
    ++allocations;
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
