// The chain at work: the hit count before a byte moves, the head readable while the tail still loads, and a deadline
// that answers with what is there. The store below plays a slow disk: 64 MiB/s.

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <numeric>

#include <terrace/memory_adapter.hpp>
#include <terrace/terrace.hpp>

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr std::size_t chunks = 32;
constexpr std::size_t chunk_bytes = 256 << 10;

struct stopwatch {
    std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
    [[nodiscard]] double ms() const
    {
        return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    }
};

asio::awaitable<void> show(terrace::storage_manager& manager)
{
    std::vector<std::uint32_t> prompt(chunks * 256);
    std::iota(prompt.begin(), prompt.end(), 0);
    const auto keys = terrace::token_hasher{256}.keys(prompt, "my-model");
    const auto layout = terrace::memory_layout::bytes(chunk_bytes);
    {
        auto staged = manager.reserve_write(keys, layout);
        for (std::size_t i = 0; i < staged.size(); ++i)
            std::ranges::fill(staged.bytes(i), std::byte{1});
        staged.commit();
        co_await manager.flush();
        manager.clear(terrace::clear_mode::unlocked);
    }

    std::puts("1. A lookup counts and pins. Nothing moves until load().");
    {
        stopwatch watch;
        auto ticket = co_await manager.lookup({keys, layout});
        std::printf("   %5.1f ms: %zu of %zu chunks can be had\n", watch.ms(), ticket.prefix_hits(), keys.size());
    } // dropped: unpinned

    std::puts("2. Streaming: the head is copied while the tail still loads.");
    {
        stopwatch watch;
        auto handle = manager.submit_prefetch({keys, layout});
        for (std::size_t n = chunks / 4; n <= chunks; n += chunks / 4) {
            auto head = co_await handle.readable(n);
            std::printf("   %5.1f ms: %zu chunks are readable", watch.ms(), head.size());
            if (n == chunks / 4)
                std::printf(", of %zu that will be", handle.lookup_hits().value());
            std::puts("");
        }
        auto all = co_await handle.wait();
        std::printf("   %5.1f ms: the result, %zu chunks\n", watch.ms(), all.prefix_hits);
    }

    std::puts("3. A deadline: after 60 ms the rest is recomputed, not waited for.");
    {
        stopwatch watch;
        terrace::prefetch_request request{keys, layout};
        request.set_deadline(std::chrono::steady_clock::now() + 60ms);
        auto some = co_await manager.prefetch(std::move(request));
        std::printf("   %5.1f ms: %zu chunks are usable, timed out: %s\n", watch.ms(), some.prefix_hits,
                    some.timed_out ? "yes" : "no");
        if (some.prefix_hits == 0 || some.prefix_hits == keys.size())
            throw std::logic_error("a part was expected");
    }
}

int main()
{
    asio::io_context io{1};
    terrace::config config;
    config.l1.capacity_bytes = 64 << 20;
    config.prefetch_limits.window_bytes = 4 * chunk_bytes; // four chunks land, and can be read, together
    terrace::storage_manager manager{io.get_executor(), config};
    terrace::memory_options slow_disk;
    slow_disk.latency = 1ms;
    slow_disk.bandwidth_bytes_per_second = 64 << 20;
    manager.add_adapter(std::make_unique<terrace::memory_adapter>(slow_disk));

    std::exception_ptr failed;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await show(manager);
            co_await manager.close();
        },
        [&](std::exception_ptr error) { failed = error; });
    io.run();
    if (failed)
        std::rethrow_exception(failed);
}
