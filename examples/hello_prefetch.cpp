// Hello, prefetch: a prompt's KV chunks are written once, kept in files, and brought back before they are needed.

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <iostream>
#include <numeric>

#include <terrace/file_adapter.hpp>
#include <terrace/terrace.hpp>

namespace asio = boost::asio;

asio::awaitable<void> hello(terrace::storage_manager& manager)
{
    // A prompt of 1,100 tokens has four full chunks of 256; each becomes one object, named by its chained hash.
    std::vector<std::uint32_t> prompt(1100);
    std::iota(prompt.begin(), prompt.end(), 0);
    const auto keys = terrace::token_hasher{256}.keys(prompt, "my-model");
    const auto layout = terrace::memory_layout{{terrace::tensor{{2, 4, 256, 64}, terrace::dtype::bf16}}};

    // Write: reserve memory, fill it (an engine would copy from its GPU), commit. The store flow does the rest.
    auto staged = manager.reserve_write(keys, layout);
    for (std::size_t i = 0; i < staged.size(); ++i)
        std::ranges::fill(staged.bytes(i), static_cast<std::byte>(i));
    staged.commit();
    co_await manager.flush();

    // Pretend that time has passed and the memory went to others.
    manager.clear(terrace::clear_mode::unlocked);

    // Prefetch: the longest usable prefix, in memory and locked until the lease goes.
    auto hits = co_await manager.prefetch({keys, layout});
    std::cout << hits.prefix_hits << " of " << keys.size() << " chunks came back, " << hits.l2_hits
              << " of them from files\n";
    for (std::size_t i = 0; i < hits.lease.size(); ++i)
        if (hits.lease.bytes(i)[0] != static_cast<std::byte>(i))
            throw std::logic_error("these are not the bytes that were written");
}

int main()
{
    const auto directory = std::filesystem::temp_directory_path() / "terrace-hello";
    asio::io_context io{1};
    terrace::config config;
    config.l1.capacity_bytes = 64 << 20;
    terrace::storage_manager manager{io.get_executor(), config};
    manager.add_adapter(std::make_unique<terrace::file_adapter>(terrace::file_options{directory}));

    std::exception_ptr failed;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await hello(manager);
            co_await manager.close();
        },
        [&](std::exception_ptr error) { failed = error; });
    io.run();
    std::filesystem::remove_all(directory);
    if (failed)
        std::rethrow_exception(failed);
}
