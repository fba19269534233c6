// What a segment adapter does when it is full.

#include "integration/segment_world.hpp"

#include "support/small_disk.hpp"

#include <array>
#include <boost/system/system_error.hpp>
#include <iterator>
#include <sys/resource.h>

#include <terrace/clock.hpp>

namespace fs = std::filesystem;
using namespace terrace;
using namespace terrace::test;

TEST_CASE("segment adapter: full, it evicts what was written first, and never takes more than its capacity")
{
    segment_world w{1 << 20, 64 << 10};
    for (std::uint64_t n = 0; n < 500; n += 5) {
        CHECK(w.put(keys_to(n, n + 4)).all());
        REQUIRE(w.disk_bytes() <= w.options.capacity_bytes);
    }
    const adapter_status status = w.status();
    CHECK(status.objects + status.evicted_objects == 500);
    CHECK(status.objects >= 90); // 15 segments of 7, of which one is free
    CHECK(status.used_bytes == status.objects * segment_world::record_bytes);
    CHECK(w.has(keys_to(500 - status.objects, 499)).all());
    CHECK(w.get(keys_to(500 - status.objects, 499)).all());

    SUBCASE("nor after a crash")
    {
        w.reopen(segment_world::ending::crashed);
        CHECK(w.get(keys_to(420, 499)).all());
        CHECK(w.put(keys_to(500, 600)).all());
        CHECK(w.get(keys_to(550, 600)).all());
        CHECK(w.disk_bytes() <= w.options.capacity_bytes);
    }
    SUBCASE("nor after a close()")
    {
        w.reopen(segment_world::ending::closed);
        CHECK(w.status().objects == status.objects);
        CHECK(w.put(keys_to(500, 600)).all());
        CHECK(w.get(keys_to(550, 600)).all());
        w.run(w.adapter->close());
        CHECK(w.disk_bytes() <= w.options.capacity_bytes);
    }
    SUBCASE("nor with a smaller one, or other segments")
    {
        w.options.segment_bytes = 128 << 10;
        w.options.capacity_bytes = 1 << 20;
        w.open();
        CHECK(w.get(keys_to(440, 499)).all());
        for (std::uint64_t n = 600; n < 700; n += 5) {
            CHECK(w.put(keys_to(n, n + 4)).all());
            REQUIRE(w.disk_bytes() <= w.options.capacity_bytes);
        }
        CHECK(w.get(keys_to(650, 699)).all());
    }
}

TEST_CASE("segment adapter: what was loaded since it was written is written again, what was not goes")
{
    segment_world w{1 << 20, 64 << 10};
    w.put(keys({1, 2, 3}));
    for (std::uint64_t n = 100; n < 500; n += 4) {
        CHECK(w.get(keys({1, 3})).all());
        w.put(keys_to(n, n + 3));
    }
    CHECK(w.has(keys({1, 2, 3})) == bits({true, false, true}));
    w.reopen(segment_world::ending::crashed); // by its copies
    CHECK(w.get(keys({1, 3})).all());

    SUBCASE("and if everything is, half goes")
    {
        for (std::uint64_t n = 500; n < 1000; n += 4) {
            CHECK(w.put(keys_to(n, n + 3)).all());
            CHECK(w.get(keys_to(n, n + 3)).all());
        }
        CHECK(w.get(keys_to(990, 999)).all());
        CHECK(w.disk_bytes() <= w.options.capacity_bytes);
    }
    SUBCASE("and no longer, when it is no longer loaded")
    {
        for (std::uint64_t n = 500; n < 1200; n += 4)
            w.put(keys_to(n, n + 3));
        CHECK(w.has(keys({1, 3})).none());
    }
}

TEST_CASE("segment adapter: a store without room is refused, and evicts nothing in vain")
{
    segment_world w{1 << 20, 64 << 10};
    w.put(keys_to(1, 90));
    const std::uint64_t objects = w.status().objects;
    SUBCASE("larger than a segment")
    {
        CHECK(w.put(keys({200}), 60'000).none());
        CHECK(w.status().problem.find("a segment has room for 53248") != std::string::npos);
        CHECK(w.put(keys({200}), 53'248).all());
    }
    SUBCASE("when all else is locked")
    {
        w.put(keys_to(91, 98)); // 14 segments of 7; one more is there to copy to
        w.lookup(keys_to(1, 98));
        CHECK(w.put(keys({110})).none());
        CHECK(w.status().problem.find("locked") != std::string::npos);
        CHECK(w.status().evicted_objects == 0);
        CHECK(w.get(keys_to(1, 98)).all());
        w.unlock(keys_to(1, 98));
        CHECK(w.put(keys_to(110, 120)).all());
    }
    CHECK(w.status().failed_stores > 0);
    CHECK(w.status().health == adapter_health::healthy);
    CHECK(w.status().objects >= objects - 10);
}

TEST_CASE("segment adapter: what it would evict can be locked and moved elsewhere first")
{
    segment_world w{1 << 20, 64 << 10};
    const auto victims = [&](std::uint64_t objects) {
        return w.run(w.adapter->lock_victims(objects, objects * segment_world::payload_bytes));
    };
    CHECK(victims(10).empty());
    w.put(keys_to(1, 14 * 7)); // 14 segments of 15
    w.get(keys({2}));
    CHECK(w.status().evicted_objects == 0);

    const auto first = victims(5);
    REQUIRE(first.size() == 6); // of 7, one was loaded
    CHECK(first[0].key == key(1));
    CHECK(first[1].key == key(3));
    CHECK(first[0].layout == memory_layout::bytes(segment_world::payload_bytes));
    CHECK(w.status().locked_objects == 6);
    std::vector<object_key> moved;
    for (const auto& victim : first)
        moved.push_back(victim.key);
    CHECK(w.get(moved).all()); // to move them is no use of them
    w.unlock(moved);

    SUBCASE("and goes then")
    {
        w.put(keys_to(200, 204));
        CHECK(w.has(moved).none());
        CHECK(w.has(keys({2, 8})).all());
    }
    SUBCASE("or is erased, and there is room")
    {
        CHECK(w.erase(moved).all());
        CHECK(victims(4).empty());
        const std::uint64_t evicted = w.status().evicted_objects;
        w.put(keys_to(200, 203));
        CHECK(w.status().evicted_objects == evicted);
    }
    SUBCASE("or stays, if somebody wants it meanwhile")
    {
        (void)victims(5);
        w.lookup(moved);
        w.get(moved);
        w.unlock(moved);
        w.unlock(moved);
        w.put(keys_to(200, 204));
        CHECK(w.has(moved).any());
    }
}

TEST_CASE("segment adapter: loads beside stores and evictions see one object or the other, whole")
{
    segment_world w{2 << 20, 256 << 10};
    constexpr std::size_t size = 64 * 1024;
    const memory_layout layout = memory_layout::bytes(size);
    const std::array versions{content(1, size), content(2, size)};
    int loaded = 0;
    const auto keep_storing = [&](std::size_t version) -> asio::awaitable<void> {
        for (std::uint64_t i = 0; i < 60; ++i) {
            const std::vector<store_item> items{{key(1), layout, versions.at(version)},
                                                {key(10 + i), layout, versions.at(version)}};
            const bitmap stored = co_await w.adapter->store(items);
            CHECK(stored.all());
        }
    };
    const auto keep_loading = [&](memory& buffer) -> asio::awaitable<void> {
        const std::vector<load_item> items{{key(1), layout, buffer.bytes()}};
        const std::vector<object_key> names = keys({1});
        for (int i = 0; i < 200; ++i) {
            const bitmap found = co_await w.adapter->lookup_and_lock(names);
            const bitmap got = co_await w.adapter->load(items);
            co_await w.adapter->unlock(names);
            CHECK((got.any() || found.none()));
            if (got.none())
                continue;
            CHECK((std::ranges::equal(buffer.bytes(), versions[0]) || std::ranges::equal(buffer.bytes(), versions[1])));
            ++loaded;
        }
    };
    const auto rethrow = [](std::exception_ptr e) {
        if (e)
            std::rethrow_exception(e);
    };
    std::vector<memory> buffers;
    for (const bool aligned : {true, false, true})
        buffers.emplace_back(size, aligned);
    const std::vector<store_item> before{{key(1), layout, versions[0]}};
    CHECK(w.run(w.adapter->store(before)).all()); // a load that finds nothing does not wait
    w.context.restart();
    asio::co_spawn(w.context, keep_storing(0), rethrow);
    asio::co_spawn(w.context, keep_storing(1), rethrow);
    for (memory& buffer : buffers)
        asio::co_spawn(w.context, keep_loading(buffer), rethrow);
    w.context.run();
    CHECK(loaded > 0);
    CHECK(w.status().corrupt_objects == 0);
    CHECK(w.status().evicted_objects > 0);
    CHECK(w.status().locked_objects == 0);
}

TEST_CASE("segment adapter: a disk that has less room than the capacity is the limit")
{
    segment_world w;
    w.adapter.reset();
    const small_disk disk{w.directory.path(), "size=4m"};
    if (!disk.mounted()) {
        MESSAGE("skipped: this process may not mount a tmpfs");
        return;
    }
    w.open();
    for (std::uint64_t n = 100; n < 1500; n += 10)
        CHECK(w.put(keys_to(n, n + 9)).all());
    CHECK(w.status().evicted_objects > 0);
    CHECK(w.status().health == adapter_health::healthy);
    CHECK(w.status().problem == "no more than 4 segments: No space left on device");
    CHECK(w.get(keys_to(1490, 1499)).all());
    w.adapter.reset(); // before the disk goes
}

TEST_CASE("segment adapter: a disk without room for a segment is asked once a second")
{
    segment_world w;
    w.adapter.reset();
    const small_disk disk{w.directory.path(), "size=4m"};
    if (!disk.mounted()) {
        MESSAGE("skipped: this process may not mount a tmpfs");
        return;
    }
    const fs::path others = w.directory.path() / "others";
    write_file(others, std::vector<char>(7 << 19));
    const auto time = std::make_shared<manual_clock>();
    w.options.clock = time;
    w.open();
    CHECK_THROWS_AS(w.put(keys_to(1, 3)), boost::system::system_error);
    CHECK(w.status().failed_stores == 3);
    CHECK(w.status().health == adapter_health::degraded);

    fs::remove(others);
    time->advance(std::chrono::milliseconds{999});
    CHECK_THROWS_AS(w.put(keys_to(1, 3)), boost::system::system_error);
    time->advance(std::chrono::milliseconds{1});
    CHECK(w.put(keys_to(1, 3)).all());
    CHECK(w.status().health == adapter_health::healthy);
    w.adapter.reset();
}

namespace {

/// How many files this process may open: its soft limit, which is as it was in the end.
class file_limit {
public:
    file_limit() { ::getrlimit(RLIMIT_NOFILE, &before_); }
    file_limit(const file_limit&) = delete;
    file_limit& operator=(const file_limit&) = delete;
    ~file_limit() { lift(); }

    /// So many more than are open.
    void lower(std::size_t more) const
    {
        const auto open = std::distance(fs::directory_iterator{"/proc/self/fd"}, fs::directory_iterator{});
        rlimit now = before_;
        now.rlim_cur = static_cast<std::size_t>(open) + more;
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &now) == 0);
    }
    void lift() const { ::setrlimit(RLIMIT_NOFILE, &before_); }

private:
    rlimit before_{};
};

} // namespace

TEST_CASE("segment adapter: it may open a file for each segment")
{
    const file_limit limit;
    segment_world w{4 << 20, 64 << 10};
    w.adapter.reset();
    SUBCASE("because it raises the limit")
    {
        limit.lower(20);
        w.open();
        CHECK(w.put(keys_to(1, 60 * 7)).all());
        CHECK(w.status().evicted_objects == 0);
        CHECK(w.status().problem.empty());
        CHECK(w.get(keys_to(1, 60 * 7)).all());
    }
    SUBCASE("or says that it may not")
    {
        w.options.capacity_bytes = std::uint64_t{1} << 50;
        w.open();
        CHECK(w.status().problem.find("RLIMIT_NOFILE") != std::string::npos);
        CHECK(w.put(keys({1})).all());
    }
}

TEST_CASE("segment adapter: too many open files are told, and not taken for a full disk")
{
    const file_limit limit;
    segment_world w{4 << 20, 64 << 10};
    const auto time = std::make_shared<manual_clock>();
    w.options.clock = time;
    w.open();
    limit.lower(20);
    for (std::uint64_t n = 0; n < 300; n += 5)
        CHECK(w.put(keys_to(n, n + 4)).all());
    CHECK(w.status().evicted_objects > 0);
    CHECK(w.status().health == adapter_health::degraded);
    CHECK(w.status().problem.find("Too many open files") != std::string::npos);

    limit.lift();
    time->advance(std::chrono::seconds{1});
    const std::uint64_t evicted = w.status().evicted_objects;
    for (std::uint64_t n = 1000; n < 1200; n += 5)
        CHECK(w.put(keys_to(n, n + 4)).all());
    CHECK(w.status().evicted_objects <= evicted + 7);
    CHECK(w.status().health == adapter_health::healthy);
}
