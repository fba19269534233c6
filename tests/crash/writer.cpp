// Writes through the engine until it is killed: the victim of the crash tests.
//
//     terrace_crash_writer ADAPTER JOURNAL SEED

#include "crash/journal.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <exception>
#include <random>
#include <string>

#include <terrace/adapter_registry.hpp>
#include <terrace/terrace.hpp>

using namespace terrace;

namespace {

/// One batch: some keys, each in a version of its own, acknowledged when flush() says so and nothing has failed.
asio::awaitable<void> write_some(storage_manager& manager, crash::journal& log, std::mt19937_64& random,
                                 std::uint64_t& version)
{
    std::vector<std::uint32_t> numbers(1 + random() % 24);
    for (std::uint32_t& n : numbers)
        n = static_cast<std::uint32_t>(random() % crash::key_count);
    std::ranges::sort(numbers);
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());

    std::vector<std::pair<std::uint32_t, std::uint64_t>> stored;
    for (const std::uint32_t n : numbers) {
        std::vector<object_key> one(1, crash::key(n));
        auto room = manager.reserve_write(one, crash::layout(n), write_mode::all);
        if (room.leading() == 0)
            continue;
        ++version;
        log.will_store(n, version);
        const auto bytes = crash::payload(n, version);
        std::ranges::copy(bytes, room.bytes(0).begin());
        room.commit();
        stored.emplace_back(n, version);
    }
    const auto before = manager.status().store;
    co_await manager.flush();
    const auto after = manager.status().store;
    if (after.failed_objects == before.failed_objects && after.dropped_objects == before.dropped_objects)
        for (const auto& [n, v] : stored)
            log.has_stored(n, v);
    if (random() % 4 == 0)
        manager.clear(clear_mode::unlocked);
}

asio::awaitable<void> write_for_ever(storage_manager& manager, crash::journal& log, std::uint64_t seed)
{
    std::mt19937_64 random{seed};
    std::uint64_t version = seed << 32; // above those of all writers before
    while (true)
        co_await write_some(manager, log, random, version);
}

} // namespace

int main(int count, char** arguments)
try {
    if (count != 4)
        throw std::invalid_argument("expected an adapter, a journal and a seed");
    asio::io_context context{1};
    config cfg;
    cfg.l1.capacity_bytes = 16 << 20;
    storage_manager manager{context.get_executor(), cfg};
    (void)manager.add_adapter(make_adapter(arguments[1]));
    crash::journal log{arguments[2]};
    asio::co_spawn(context, write_for_ever(manager, log, std::stoull(arguments[3])), [](std::exception_ptr error) {
        if (error)
            std::rethrow_exception(error);
    });
    context.run();
    return 1;
} catch (const std::exception& e) {
    std::fprintf(stderr, "terrace_crash_writer: %s\n", e.what());
    return 2;
}
