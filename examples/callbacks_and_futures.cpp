// Lesson 4: without coroutines. Every awaitable operation has an async_ form that takes what Asio calls a completion
// token: a future, a callback, or any other. The engine has a thread of its own here; main() is not on it.
//
// Prints what a future, a callback and a loop that polls were told, and what a closed engine says.

#include <algorithm>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/system/system_error.hpp>
#include <chrono>
#include <cstdio>
#include <future>
#include <numeric>
#include <stdexcept>
#include <thread>

#include <terrace/memory_adapter.hpp>
#include <terrace/terrace.hpp>

namespace asio = boost::asio;

const auto layout = terrace::memory_layout::bytes(4096);

std::vector<terrace::object_key> keys_of_the_prompt()
{
    std::vector<std::uint32_t> tokens(8 * 256);
    std::iota(tokens.begin(), tokens.end(), 0);
    return terrace::token_hasher{256}.keys(tokens, "my-model");
}

void expect_eight(std::size_t seen)
{
    if (seen != 8)
        throw std::logic_error("8 chunks expected, " + std::to_string(seen) + " seen");
}

// [future]
/// A future: this thread waits.
void with_a_future(terrace::storage_manager& manager)
{
    terrace::prefetch_result hits = manager.async_prefetch({keys_of_the_prompt(), layout}, asio::use_future).get();
    std::printf("future:   %zu chunks\n", hits.prefix_hits);
    expect_eight(hits.prefix_hits);
}
// [/future]

// [callback]
/// A callback: called on the engine's thread, so it is brief, and does not wait.
void with_a_callback(terrace::storage_manager& manager)
{
    std::promise<std::size_t> told;
    manager.async_prefetch({keys_of_the_prompt(), layout},
                           [&told](std::exception_ptr error, terrace::prefetch_result hits) {
                               if (error)
                                   told.set_exception(error);
                               else
                                   told.set_value(hits.prefix_hits);
                           });
    const std::size_t chunks = told.get_future().get();
    std::printf("callback: %zu chunks\n", chunks);
    expect_eight(chunks);
}
// [/callback]

// [poll]
/// No waiting at all: a scheduler asks between its steps whether the prompt is there.
void by_polling(terrace::storage_manager& manager)
{
    auto handle = manager.submit_prefetch({keys_of_the_prompt(), layout});
    std::optional<terrace::prefetch_result> hits;
    while (!(hits = handle.poll()))
        std::this_thread::sleep_for(std::chrono::microseconds{100}); // a step of the model, for other requests
    std::printf("polling:  %zu chunks\n", hits->prefix_hits);
    expect_eight(hits->prefix_hits);
}
// [/poll]

// [error]
/// A callback is handed what went wrong. A future's get() throws it.
void after_the_end(terrace::storage_manager& manager)
{
    std::promise<boost::system::error_code> told;
    manager.async_prefetch({keys_of_the_prompt(), layout},
                           [&told](std::exception_ptr error, const terrace::prefetch_result&) {
                               try {
                                   if (error)
                                       std::rethrow_exception(error);
                                   told.set_value({});
                               } catch (const boost::system::system_error& refused) {
                                   told.set_value(refused.code());
                               }
                           });
    const boost::system::error_code why = told.get_future().get();
    std::printf("closed:   %s\n", why.message().c_str());
    if (why != terrace::errc::closed)
        throw std::logic_error("a closed engine took a request");
}
// [/error]

// [main]
int main()
{
    asio::thread_pool engine_thread{1}; // one thread: the engine's handlers run one at a time
    terrace::config config;
    config.l1.capacity_bytes = 1 << 20;
    terrace::storage_manager manager{engine_thread.get_executor(), config};
    manager.add_adapter(std::make_unique<terrace::memory_adapter>());

    // What does not wait is an ordinary function, for any thread.
    auto staged = manager.reserve_write(keys_of_the_prompt(), layout);
    for (std::size_t i = 0; i < staged.size(); ++i)
        std::ranges::fill(staged.bytes(i), static_cast<std::byte>(i));
    staged.commit();
    manager.async_flush(asio::use_future).get();
    manager.clear(terrace::clear_mode::unlocked);

    with_a_future(manager);
    with_a_callback(manager);
    by_polling(manager);
    manager.async_close(asio::use_future).get();
    after_the_end(manager);
    engine_thread.join();
}
// [/main]
