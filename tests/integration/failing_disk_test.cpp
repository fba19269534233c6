// The engine over a disk that is full or broken: what it stores fails and is counted, what is there goes on being read,
// and all is well again when the disk is.

#include "support/small_disk.hpp"
#include "support/temporary_directory.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <doctest/doctest.h>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include <terrace/fault_adapter.hpp>
#include <terrace/file_adapter.hpp>
#include <terrace/segment_adapter.hpp>
#include <terrace/terrace.hpp>

namespace fs = std::filesystem;
using namespace terrace;

namespace {

constexpr std::size_t object_bytes = 16'384;

struct files {
    static std::unique_ptr<l2_adapter> open(const fs::path& directory, const std::shared_ptr<terrace::clock>&)
    {
        return std::make_unique<file_adapter>(file_options{directory});
    }
};
struct segments {
    static std::unique_ptr<l2_adapter> open(const fs::path& directory, const std::shared_ptr<terrace::clock>& time)
    {
        segment_options options{directory};
        options.clock = time;
        options.segment_bytes = 1 << 20;
        return std::make_unique<segment_adapter>(options);
    }
};

std::vector<object_key> keys(std::uint64_t first, std::size_t count)
{
    std::vector<object_key> made;
    for (std::uint64_t n = first; n < first + count; ++n)
        made.emplace_back("m", chunk_hash::from_number(n));
    return made;
}

/// Real files, on virtual time: that moves when the disk has nothing left to do.
struct engine_world {
    template <class Store>
    engine_world(Store, const fs::path& directory)
    {
        manager.add_adapter(make_fault_adapter(Store::open(directory, time), faults));
    }
    ~engine_world()
    {
        run(manager.close());
        const engine_status end = manager.status();
        CHECK(end.store.queued_objects + end.store.in_flight_objects == 0);
        CHECK(end.l1.staged_bytes + end.l1.locks + end.prefetch.l2_locks == 0);
    }
    engine_world(const engine_world&) = delete;
    engine_world& operator=(const engine_world&) = delete;

    static config settings(const std::shared_ptr<manual_clock>& time)
    {
        config made;
        made.l1.capacity_bytes = 8 << 20;
        made.clock = time;
        made.random_seed = 1;
        return made;
    }

    template <class T>
    T run(asio::awaitable<T> call)
    {
        std::optional<T> answer;
        asio::co_spawn(io, std::move(call), [&](std::exception_ptr failed, T value) {
            CHECK_FALSE(failed);
            answer.emplace(std::move(value));
        });
        settle([&] { return answer.has_value(); });
        return std::move(answer.value());
    }
    void run(asio::awaitable<void> call)
    {
        bool ended = false;
        asio::co_spawn(io, std::move(call), [&](std::exception_ptr failed) {
            CHECK_FALSE(failed);
            ended = true;
        });
        settle([&] { return ended; });
    }
    template <class Done>
    void settle(Done done)
    {
        while (!done()) {
            io.restart();
            if (io.poll() != 0)
                continue;
            if (disk().in_flight != 0)
                io.run_one();
            else
                REQUIRE(time->advance_to_next_alarm());
        }
    }

    /// Writes objects, whose bytes are all their number (< 256), and waits for what becomes of them. How many could not
    /// be stored.
    std::uint64_t write(std::uint64_t first, std::size_t count)
    {
        const std::uint64_t before = stores().failed_objects;
        const auto some = keys(first, count);
        auto room = manager.reserve_write(some, layout, write_mode::all);
        REQUIRE(room.leading() == count);
        for (std::size_t i = 0; i < count; ++i)
            std::ranges::fill(room.bytes(i), static_cast<std::byte>(first + i));
        room.commit();
        run(manager.flush());
        return stores().failed_objects - before;
    }
    /// How many of the objects the disk brings back, which must be as they were written.
    std::size_t read(std::uint64_t first, std::size_t count)
    {
        manager.clear(clear_mode::unlocked);
        prefetch_request request{keys(first, count), layout};
        request.set_trim(trim_rule::sparse);
        const auto hits = run(manager.prefetch(std::move(request)));
        for (std::size_t i = 0; i < hits.lease.size(); ++i) {
            const auto number = std::to_integer<std::uint64_t>(hits.lease.bytes(i)[0]);
            CHECK(hits.lease.key(i) == keys(number, 1)[0]);
            CHECK(std::ranges::all_of(hits.lease.bytes(i), [&](std::byte b) { return b == std::byte(number); }));
        }
        return hits.lease.size();
    }
    [[nodiscard]] store_status stores() const { return manager.status().store; }
    [[nodiscard]] adapter_status disk() const { return manager.status().adapters[0].self; }

    const memory_layout layout = memory_layout::bytes(object_bytes);
    asio::io_context io{1};
    std::shared_ptr<manual_clock> time = std::make_shared<manual_clock>();
    std::shared_ptr<fault_control> faults = std::make_shared<fault_control>(1, time);
    storage_manager manager{io.get_executor(), settings(time)};
};

/// Takes all room that is left on a disk.
void fill(const fs::path& with)
{
    std::ofstream file{with, std::ios::binary};
    const std::string block(4096, 'x');
    while (file.write(block.data(), static_cast<std::streamsize>(block.size())) && file.flush()) {
    }
}

} // namespace

TEST_CASE_TEMPLATE("engine over a full disk: stores fail and are counted, loads go on, and with room it stores again",
                   Store, files, segments)
{
    const test::temporary_directory directory;
    const test::small_disk small{directory.path(), "size=4m"};
    if (!small.mounted()) {
        MESSAGE("skipped: this process may not mount a tmpfs");
        return;
    }
    engine_world w{Store{}, directory.path() / "cache"};
    CHECK(w.write(0, 10) == 0);
    fill(directory.path() / "others");

    const std::uint64_t failed = w.write(100, 80);
    CHECK(failed >= 30); // a segment that has been begun may have room
    CHECK(w.stores().stored_objects == 90 - failed);
    CHECK(w.stores().retried_objects > 0);
    CHECK(w.disk().failed_stores > failed); // once for each attempt
    CHECK(w.disk().health == adapter_health::degraded);
    CHECK(w.disk().problem.find("No space left on device") != std::string::npos);

    CHECK(w.read(0, 10) == 10);
    CHECK(w.read(100, 80) == 80 - failed);

    // The disk takes nothing at all by now: the adapter is left alone for a while, instead of asked for each object.
    CHECK(w.manager.status().adapters[0].errors > 0);
    CHECK(w.write(200, 80) == 80);
    CHECK(w.manager.status().adapters[0].breaker_trips > 0);
    CHECK(w.manager.status().adapters[0].health == adapter_health::failed);
    CHECK(w.read(0, 10) == 10);

    fs::remove(directory.path() / "others");
    CHECK(w.write(100, 80) == 0);
    CHECK(w.disk().health == adapter_health::healthy);
    CHECK(w.read(0, 10) == 10);
    CHECK(w.read(100, 80) == 80);
    CHECK(w.disk().corrupt_objects == 0);
}

TEST_CASE_TEMPLATE("engine over a broken disk: what fails is counted, the rest goes on, and it recovers", Store, files,
                   segments)
{
    const test::temporary_directory directory;
    engine_world w{Store{}, directory.path() / "cache"};
    CHECK(w.write(0, 10) == 0);

    SUBCASE("every store throws")
    {
        fault_rule rule{fault_calls::store, fault_effect::throw_error};
        SUBCASE("EIO") {}
        SUBCASE("ENOSPC")
        {
            rule.error = make_error_code(boost::system::errc::no_space_on_device);
        }
        w.faults->add(rule);
        CHECK(w.write(100, 10) == 10);
        CHECK(w.manager.status().adapters[0].errors > 0);
        CHECK(w.manager.status().adapters[0].breaker_trips > 0);
        CHECK(w.read(0, 10) == 10); // the breaker is for stores only
        CHECK(w.read(100, 10) == 0);

        w.faults->clear();
        CHECK(w.write(100, 10) == 0);
        CHECK(w.read(100, 10) == 10);
    }
    SUBCASE("half of what is stored fails, each time")
    {
        fault_rule rule{fault_calls::store, fault_effect::fail_items};
        rule.item_probability = 0.5;
        w.faults->add(rule);
        const std::uint64_t failed = w.write(100, 100); // after five attempts
        CHECK(failed < 50);
        CHECK(w.stores().retried_objects > 0);
        CHECK(w.read(100, 100) == 100 - failed);
        CHECK(w.manager.status().adapters[0].breaker_trips == 0);
    }
    SUBCASE("every load throws")
    {
        const auto rule = w.faults->add(fault_rule{fault_calls::load, fault_effect::throw_error});
        CHECK(w.read(0, 10) == 0);
        CHECK(w.write(100, 10) == 0);
        CHECK(w.stores().stored_objects == 20);
        CHECK(w.manager.status().prefetch.failed_loads > 0);

        w.faults->remove(rule);
        CHECK(w.read(0, 10) == 10);
        CHECK(w.read(100, 10) == 10);
    }
    CHECK(w.disk().corrupt_objects == 0);
}
