// Lesson 7: an adapter of your own, over a client library whose calls block. The whole contract is kept: locks, room
// and eviction, cancellation, an end that waits for what is under way. The tests run this adapter through the same
// specification as those that come with Terrace.
//
//     blocking_store.hpp    stands for the client library, which knows nothing of Terrace
//     store_adapter.hpp     the adapter
//     store_adapter.cpp     how its calls cross over to threads of its own and back
//     main.cpp              an engine that uses it
//
// Prints what the store holds at the end of an engine, and what the next one finds in it.

#include "store_adapter.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <cstdio>
#include <numeric>
#include <stdexcept>

#include <terrace/terrace.hpp>

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr std::size_t chunks = 8;
const auto layout = terrace::memory_layout::bytes(64 << 10);

std::vector<terrace::object_key> keys_of_the_prompt()
{
    std::vector<std::uint32_t> tokens(chunks * 256);
    std::iota(tokens.begin(), tokens.end(), 0);
    return terrace::token_hasher{256}.keys(tokens, "my-model");
}

asio::awaitable<void> write_prompt(terrace::storage_manager& manager)
{
    auto staged = manager.reserve_write(keys_of_the_prompt(), layout);
    for (std::size_t i = 0; i < staged.size(); ++i)
        std::ranges::fill(staged.bytes(i), static_cast<std::byte>(i));
    staged.commit();
    co_await manager.flush();
    const auto status = manager.status().adapters.front().self;
    std::printf("%s holds %d objects of %d KiB together\n", status.name.c_str(), static_cast<int>(status.objects),
                static_cast<int>(status.used_bytes >> 10));
    if (status.objects != chunks)
        throw std::logic_error("not everything was stored");
}

asio::awaitable<void> read_prompt(terrace::storage_manager& manager)
{
    auto hits = co_await manager.prefetch({keys_of_the_prompt(), layout});
    std::printf("the next engine finds %zu of them\n", hits.l2_hits);
    for (std::size_t i = 0; i < hits.lease.size(); ++i)
        if (hits.lease.bytes(i).front() != static_cast<std::byte>(i))
            throw std::logic_error("these are not the bytes that were stored");
    if (hits.prefix_hits != chunks)
        throw std::logic_error("not everything came back");
}

template <class Work>
void with_an_engine(const std::shared_ptr<blocking_store>& store, Work work)
{
    asio::io_context io{1};
    terrace::config config;
    config.l1.capacity_bytes = 16 << 20;
    terrace::storage_manager manager{io.get_executor(), config};
    // [add]
    manager.add_adapter(std::make_unique<store_adapter>(store));
    // [/add]
    auto ended = asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await work(manager);
            co_await manager.close();
        },
        asio::use_future);
    io.run();
    ended.get();
}

int main()
{
    const auto store = std::make_shared<blocking_store>(1ms);
    with_an_engine(store, write_prompt);
    with_an_engine(store, read_prompt);
}
