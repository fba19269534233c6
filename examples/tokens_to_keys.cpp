// Lesson 2: from tokens to keys. A key names a chunk of tokens together with all that came before it, so prompts that
// begin alike share keys for as long as they do, and objects. The other parts of a key keep apart what must not be
// shared: models, tenants, ranks and groups of layers.
//
// Prints two prompts' keys side by side, and what a prefetch finds of each.

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <cstdio>
#include <stdexcept>

#include <terrace/terrace.hpp>

namespace asio = boost::asio;

using prompt = std::vector<terrace::token_hasher::token>;
using keys = std::vector<terrace::object_key>;

const auto layout = terrace::memory_layout::bytes(4096);

void expect(std::size_t expected, std::size_t seen)
{
    if (seen != expected)
        throw std::logic_error(std::to_string(expected) + " expected, " + std::to_string(seen) + " seen");
}

// [prompts]
const terrace::token_hasher hasher{4}; // tokens in a chunk; 256 is usual, but four can be read
const prompt alice{11, 12, 13, 14, 15, 16, 17, 18, /* the same until here */ 21, 22, 23, 24, 25, 26};
const prompt bob{11, 12, 13, 14, 15, 16, 17, 18, /* and again from here on */ 31, 32, 33, 34, 21, 22, 23, 24};
// [/prompts]

/// The beginning of a key's hash, or nothing if there is no such key.
std::string brief(const keys& all, std::size_t i)
{
    return i < all.size() ? all[i].to_string().substr(std::string{"my-model@00000000@0000@"}.size(), 8) : "";
}

void write(terrace::storage_manager& manager, const keys& which)
{
    auto staged = manager.reserve_write(which, layout);
    for (std::size_t i = 0; i < staged.size(); ++i)
        std::ranges::fill(staged.bytes(i), std::byte{1});
    staged.commit();
}

void side_by_side()
{
    // [side-by-side]
    const keys a = hasher.keys(alice, "my-model");
    const keys b = hasher.keys(bob, "my-model");
    std::printf("chunk  Alice's   Bob's\n");
    for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i)
        std::printf("%zu      %-8s  %s%s\n", i, brief(a, i).c_str(), brief(b, i).c_str(),
                    i < a.size() && a[i] == b[i] ? "  the same" : "");
    std::printf("the first, as text: %s\n", a.front().to_string().c_str());
    // [/side-by-side]
    expect(3, a.size()); // 14 tokens: the last two fill no chunk
    expect(4, b.size());
}

asio::awaitable<void> sharing(terrace::storage_manager& manager)
{
    // [sharing]
    write(manager, hasher.keys(alice, "my-model"));
    auto shared = co_await manager.prefetch({hasher.keys(bob, "my-model"), layout});
    std::printf("of Bob's prompt, %zu chunks are there\n", shared.prefix_hits);

    // The cache salt keeps tenants apart: Carol asks for the very same tokens, and learns nothing.
    auto apart = co_await manager.prefetch({hasher.keys(bob, "my-model", 0, 0, "carol"), layout});
    std::printf("of the same prompt for another tenant, %zu\n", apart.prefix_hits);
    // [/sharing]
    expect(2, shared.prefix_hits);
    expect(0, apart.prefix_hits);
}

asio::awaitable<void> ranks(terrace::storage_manager& manager)
{
    // [ranks]
    // Two GPUs hold half of the heads each, so each chunk is two objects. It counts when both are there.
    const keys of_rank_0 = hasher.keys(alice, "big-model", 0);
    const keys of_rank_1 = hasher.keys(alice, "big-model", 1);
    write(manager, of_rank_0);
    write(manager, {of_rank_1.front()});

    keys both; // chunk by chunk
    for (std::size_t i = 0; i < of_rank_0.size(); ++i) {
        both.push_back(of_rank_0[i]);
        both.push_back(of_rank_1[i]);
    }
    std::vector<terrace::key_group> groups;
    groups.emplace_back(both, layout).set_keys_per_chunk(2);
    auto complete = co_await manager.prefetch(terrace::prefetch_request{groups});
    std::printf("with two ranks, %zu chunk is complete\n", complete.prefix_hits);
    // [/ranks]
    expect(1, complete.prefix_hits);
}

asio::awaitable<void> windows(terrace::storage_manager& manager)
{
    // [windows]
    // Layers that attend to a sliding window need the last chunks only. They are a group of objects of their own.
    const keys full = hasher.keys(alice, "hybrid-model", 0, 0);
    const keys sliding = hasher.keys(alice, "hybrid-model", 0, 1);
    write(manager, full);
    write(manager, {sliding.back()});

    std::vector<terrace::key_group> groups;
    groups.emplace_back(full, layout);
    groups.emplace_back(sliding, layout).set_window_chunks(1);
    auto usable = co_await manager.prefetch(terrace::prefetch_request{groups});
    std::printf("with a window of one chunk, %zu chunks are usable, from %zu objects\n", usable.prefix_hits,
                usable.lease.size());
    // [/windows]
    expect(3, usable.prefix_hits);
    expect(4, usable.lease.size());
}

int main()
{
    side_by_side();
    asio::io_context io{1};
    terrace::config config;
    config.l1.capacity_bytes = 1 << 20;
    terrace::storage_manager manager{io.get_executor(), config}; // without adapters: L1 is all there is
    auto ended = asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await sharing(manager);
            co_await ranks(manager);
            co_await windows(manager);
            co_await manager.close();
        },
        asio::use_future);
    io.run();
    ended.get();
}
