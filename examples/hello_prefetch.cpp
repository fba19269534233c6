// Lesson 1: a prompt's KV chunks are written once, kept in files, and brought back before they are needed, by an engine
// that was started anew.
//
// Prints how many chunks were written, and how many came back from files.

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <unistd.h>

#include <terrace/file_adapter.hpp>
#include <terrace/terrace.hpp>

namespace asio = boost::asio;

// [prompt]
// A prompt of 1,100 tokens has four full chunks of 256. Each becomes one object, whose name is a hash of its tokens and
// of all tokens before them.
std::vector<terrace::object_key> keys_of_the_prompt()
{
    std::vector<std::uint32_t> tokens(1100);
    std::iota(tokens.begin(), tokens.end(), 0);
    return terrace::token_hasher{256}.keys(tokens, "my-model");
}

// What one object is made of: K and V of 256 tokens, in 4 heads of 64 elements.
const terrace::memory_layout layout{{terrace::tensor{{2, 4, 256, 64}, terrace::dtype::bf16}}};
// [/prompt]

// [write]
asio::awaitable<void> write_prompt(terrace::storage_manager& manager)
{
    auto staged = manager.reserve_write(keys_of_the_prompt(), layout);
    for (std::size_t i = 0; i < staged.size(); ++i) // an inference engine would copy from its GPU
        std::ranges::fill(staged.bytes(i), static_cast<std::byte>(i));
    staged.commit();
    co_await manager.flush(); // until all of it is in files
    std::cout << manager.status().store.stored_objects << " chunks are in files\n";
}
// [/write]

// [read]
asio::awaitable<void> read_prompt(terrace::storage_manager& manager)
{
    auto hits = co_await manager.prefetch({keys_of_the_prompt(), layout});
    std::cout << hits.prefix_hits << " chunks came back, " << hits.l2_hits << " of them from files\n";
    for (std::size_t i = 0; i < hits.lease.size(); ++i)
        if (hits.lease.bytes(i).front() != static_cast<std::byte>(i))
            throw std::logic_error("these are not the bytes that were written");
    if (hits.prefix_hits != 4)
        throw std::logic_error("four chunks were expected");
} // the lease goes, and with it the right to those bytes
// [/read]

// [engine]
/// An engine over a directory, from its start to its end.
template <class Work>
void with_an_engine(const std::filesystem::path& directory, Work work)
{
    asio::io_context io{1};
    terrace::config config;
    config.l1.capacity_bytes = 64 << 20;
    terrace::storage_manager manager{io.get_executor(), config};
    manager.add_adapter(std::make_unique<terrace::file_adapter>(terrace::file_options{directory}));

    auto ended = asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await work(manager);
            co_await manager.close();
        },
        asio::use_future);
    io.run();
    ended.get(); // throws what was thrown in there
}
// [/engine]

int main()
{
    const auto directory = std::filesystem::temp_directory_path() / ("terrace-hello-" + std::to_string(getpid()));
    with_an_engine(directory, write_prompt);
    with_an_engine(directory, read_prompt);
    std::filesystem::remove_all(directory);
}
