#include "support/temporary_directory.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <doctest/doctest.h>
#include <string>

#include <terrace/file_adapter.hpp>
#include <terrace/terrace.hpp>

using namespace terrace;

namespace {

constexpr std::size_t object_bytes = 5000;

object_key key(std::uint64_t n)
{
    return {"m", chunk_hash::from_number(n)};
}

std::byte content(std::uint64_t n)
{
    return static_cast<std::byte>(n * 37 + 1);
}

/// Writes objects one after the other, and reads them all back.
asio::awaitable<std::size_t> write_and_read(storage_manager& manager, std::uint64_t objects)
{
    const auto layout = memory_layout::bytes(object_bytes);
    for (std::uint64_t n = 0; n < objects; ++n) {
        std::vector<object_key> one(1, key(n));
        auto room = manager.reserve_write(one, layout);
        std::ranges::fill(room.bytes(0), content(n));
        room.commit();
        co_await manager.flush();
    }
    manager.clear(clear_mode::unlocked);
    std::vector<object_key> all;
    for (std::uint64_t n = 0; n < objects; ++n)
        all.push_back(key(n));
    prefetch_request request{std::move(all), layout};
    auto hits = co_await manager.prefetch(std::move(request));
    std::size_t intact = 0;
    for (std::size_t i = 0; i < hits.lease.size(); ++i)
        intact += std::ranges::all_of(hits.lease.bytes(i), [&](std::byte b) { return b == content(i); });
    co_return intact;
}

} // namespace

TEST_CASE("tiers of files: what a directory has no room for moves to the next, and nothing is evicted on the way")
{
    const test::temporary_directory directory;
    asio::io_context io{1};
    config cfg;
    cfg.l1.capacity_bytes = 1 << 20;
    cfg.store = store_policy::make("tiered");
    storage_manager manager{io.get_executor(), cfg};
    for (const char* tier : {"upper", "middle", "lower"}) {
        file_options options{directory.path() / tier};
        options.capacity_bytes = tier[0] == 'l' ? 0 : 10 * (4096 + object_bytes);
        (void)manager.add_adapter(std::make_unique<file_adapter>(options));
    }
    std::size_t intact = 0;
    asio::co_spawn(io, write_and_read(manager, 50), [&](std::exception_ptr error, std::size_t n) {
        CHECK_FALSE(error);
        intact = n;
        asio::co_spawn(io, manager.close(), [](std::exception_ptr failed) { CHECK_FALSE(failed); });
    });
    io.run();
    CHECK(intact == 50);
    const auto status = manager.status();
    CHECK(status.adapters[0].self.objects == 10);
    CHECK(status.adapters[1].self.objects == 10);
    CHECK(status.adapters[2].self.objects == 30);
    CHECK(status.adapters[0].self.evicted_objects + status.adapters[1].self.evicted_objects == 0);
    CHECK(status.store.demoted_objects == 40 + 30);
}
