// Lesson 8: an HTTP server that embeds the engine. Connections and engine share one io_context and one thread: a
// request is a coroutine that awaits the engine as it awaits its socket. No object is held twice: a body is read into
// L1, and written from there.
//
//     message.hpp, .cpp       requests, replies, and what is refused
//     api.hpp, .cpp           PUT, GET, prefetch, status, metrics: each some lines around one call of the engine
//     http_server.hpp, .cpp   connections, limits, and how it all ends
//     main.cpp                options, signals, and the order in which things begin and end
//     try.sh                  tries all of it with curl; the tests run it
//
// Prints where it listens, and what it did when it has ended. It listens to this machine alone unless told otherwise:
// whoever can connect can read and write.

#include "http_server.hpp"

#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_future.hpp>
#include <csignal>
#include <iostream>

#include <terrace/file_adapter.hpp>
#include <terrace/terrace.hpp>

namespace asio = boost::asio;

struct options {
    std::string address = "127.0.0.1";
    unsigned short port = 8080;
    std::string directory;
    std::uint64_t l1_bytes = 256 << 20;
    std::uint64_t chunk_bytes = 64 << 10;
};

// [serve]
void serve(const options& chosen)
{
    asio::io_context io{1};
    terrace::config config;
    config.l1.capacity_bytes = chosen.l1_bytes;
    config.prefetch = terrace::prefetch_policy::make("retain"); // what was read once may be read again
    terrace::storage_manager manager{io.get_executor(), config};
    manager.add_adapter(std::make_unique<terrace::file_adapter>(terrace::file_options{chosen.directory}));

    example::http_server server{
        io.get_executor(), {asio::ip::make_address(chosen.address), chosen.port}, {manager, chosen.chunk_bytes}};
    std::cout << "listening on http://" << server.address() << std::endl;

    asio::signal_set signals{io, SIGINT, SIGTERM};
    signals.async_wait([&](boost::system::error_code error, int) {
        if (error)
            return;
        server.stop();
        signals.clear(); // the next signal ends the program as if there were no handler
    });
    auto ended = asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await server.run();    // until stop(), and the last reply
            co_await manager.flush(); // what was PUT is in files
            co_await manager.close(); // nothing is locked, staged or in flight
            signals.cancel();
        },
        asio::use_future);
    io.run();
    ended.get();
    const auto status = manager.status();
    std::cout << status.store.stored_objects << " chunks stored, "
              << status.prefetch.l1_hit_keys + status.prefetch.l2_hit_keys << " found for those who asked\n";
}
// [/serve]

int main(int argc, char** argv)
{
    options chosen;
    CLI::App app{"Keeps chunks for whoever asks by HTTP: in memory, and in files below it."};
    app.add_option("--directory", chosen.directory, "Where the files are")->required();
    app.add_option("--address", chosen.address, "Where to listen")->capture_default_str();
    app.add_option("--port", chosen.port, "The port; 0: one that is free")->capture_default_str();
    app.add_option("--l1", chosen.l1_bytes, "Memory for chunks")
        ->transform(CLI::AsSizeValue(false))
        ->capture_default_str();
    app.add_option("--chunk-bytes", chosen.chunk_bytes, "The size of every chunk")
        ->transform(CLI::AsSizeValue(false))
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        serve(chosen);
    } catch (const std::exception& error) {
        std::cerr << "http_server: " << error.what() << '\n';
        return 1;
    }
}
