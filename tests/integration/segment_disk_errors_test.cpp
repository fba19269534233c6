// What a segment adapter does about a disk that cannot write or read somewhere.

#include "integration/broken_sector.hpp"
#include "integration/segment_world.hpp"
#include "integration/unwritable_range.hpp"

#include <boost/system/system_error.hpp>

#include <optional>

namespace fs = std::filesystem;
using namespace terrace;
using namespace terrace::test;

namespace {

/// Whether all of them are stored; false also if the disk refuses every one.
template <class World>
bool stores(World& w, const std::vector<object_key>& which)
{
    try {
        return w.put(which, segment_world::payload_bytes).all();
    } catch (const boost::system::system_error&) {
        return false;
    }
}

/// Sixteen segments of seven records in one file.
struct volume_world : adapter_world<segment_adapter> {
    static constexpr std::uint64_t segment_bytes = 64 << 10;

    volume_world()
    {
        write_file(path, std::vector<char>(block + 16 * segment_bytes));
        options.segment_bytes = segment_bytes;
        options.threads = 2;
        options.io = "threads";
        open();
    }
    void open()
    {
        adapter.reset();
        adapter = std::make_unique<segment_adapter>(options);
    }
    static std::uint64_t begin_of(std::uint64_t segment) { return block + (segment - 1) * segment_bytes; }

    const fs::path path = directory.path() / "volume";
    segment_options options{path};
};

} // namespace

TEST_CASE("segment adapter: a place that cannot be written costs the group that met it, and no other")
{
    segment_world w{2 << 20, 64 << 10};
    w.options.io = "threads";
    w.open();
    REQUIRE(w.put(keys_to(1, 10)).all()); // seven in the first segment, three in the second
    const unwritable_range bad{w.segment(2), block + 4 * segment_world::record_bytes, block};
    CHECK(stores(w, keys({11})));
    CHECK_FALSE(stores(w, keys({12})));
    CHECK(w.status().health == adapter_health::degraded);
    CHECK(w.status().problem == "writing segment 2: Input/output error; it is not filled again until the next start");
    for (std::uint64_t n = 100; n < 600; n += 5) {
        REQUIRE(stores(w, keys_to(n, n + 4)));
        REQUIRE(w.disk_bytes() <= w.options.capacity_bytes);
    }
    CHECK(w.status().health == adapter_health::healthy);
    CHECK(w.status().failed_stores == 1);
    CHECK(w.get(keys_to(450, 599)).all());
    CHECK(w.has(keys_to(1, 12)).none()); // evicted in its turn, and never filled again
    CHECK(bad.writes() == 1);

    SUBCASE("nor is it met again at once after a start")
    {
        w.reopen(segment_world::ending::closed);
        CHECK(w.has(keys_to(450, 599)).all());
    }
    SUBCASE("and what was evicted from there does not come back after a crash")
    {
        w.reopen(segment_world::ending::crashed);
        CHECK(w.has(keys_to(1, 12)).none());
        CHECK(w.get(keys_to(450, 599)).all());
    }
}

TEST_CASE("segment adapter: what lies in a segment before a place that cannot be written is still there")
{
    segment_world w{2 << 20, 64 << 10};
    w.options.io = "threads";
    w.open();
    REQUIRE(w.put(keys_to(1, 3)).all());
    const unwritable_range bad{w.segment(1), block + 3 * segment_world::record_bytes};
    CHECK_FALSE(stores(w, keys_to(4, 5)));
    CHECK(stores(w, keys_to(4, 5)));
    CHECK(w.get(keys_to(1, 5)).all());
    auto how = segment_world::ending::closed;
    SUBCASE("also after a close()") {}
    SUBCASE("also after a crash")
    {
        how = segment_world::ending::crashed;
    }
    w.reopen(how);
    CHECK(w.get(keys_to(1, 5)).all());
    CHECK(stores(w, keys_to(6, 20)));
    CHECK(w.get(keys_to(1, 20)).all());
}

TEST_CASE("segment adapter: a segment's header that cannot be read stops a start, which changes nothing")
{
    segment_world w{2 << 20, 64 << 10};
    w.put(keys_to(1, 105));
    bool closed = true;
    SUBCASE("after a close()")
    {
        w.run(w.adapter->close());
    }
    SUBCASE("after a crash")
    {
        closed = false;
    }
    w.adapter.reset();
    {
        const broken_sector bad{w.segment(2), 0};
        CHECK_THROWS_WITH_AS(w.open(),
                             doctest::Contains(("cannot read the header of " + w.segment(2).string()).c_str()),
                             std::system_error);
    }
    CHECK(fs::exists(w.directory.path() / "snapshot") == closed);
    w.open();
    CHECK(w.status().objects == 105);
    CHECK(w.put(keys_to(106, 120)).all());
    CHECK(w.get(keys_to(1, 120)).all());
}

TEST_CASE("segment adapter: a record's header that cannot be read at a start hides that record and no other")
{
    segment_world w{2 << 20, 64 << 10};
    w.put(keys_to(1, 12));
    w.adapter.reset();
    const auto place_of = [](std::uint64_t n) { return block + n * segment_world::record_bytes; };
    std::uint64_t hidden = 3;
    std::optional<broken_sector> bad;
    SUBCASE("in the middle")
    {
        bad.emplace(w.segment(1), place_of(2) + 7);
    }
    SUBCASE("the one that was written last")
    {
        hidden = 12;
        bad.emplace(w.segment(2), place_of(4));
    }
    w.open();
    CHECK(w.status().objects == 11);
    CHECK(w.status().corrupt_objects == 1);
    CHECK_FALSE(w.has(keys({hidden})).any());
    CHECK(w.put(keys({hidden}), 2000).all());
    bad.reset();
    w.reopen(segment_world::ending::crashed);
    CHECK(w.get(keys({hidden}), 2000).all()); // not the record that was there before
    CHECK(w.status().objects == 12);
}

TEST_CASE("segment adapter: an object whose payload cannot be read at a start is there when it can be again")
{
    segment_world w{2 << 20, 64 << 10};
    w.options.io = "threads";
    w.put(keys_to(1, 3)); // in a segment without an end: payloads are looked at
    w.adapter.reset();
    std::optional<broken_sector> bad{std::in_place, w.segment(1), 4 * block};
    w.open();
    CHECK(w.status().objects == 3);
    CHECK(w.get(keys_to(1, 3)) == bits({true, false, true}));
    bad.reset();
    CHECK(w.get(keys_to(1, 3)).all());
}

TEST_CASE("segment volume: a segment whose first block cannot be written is passed over")
{
    std::uint64_t segment = 1;
    SUBCASE("the first of all") {}
    SUBCASE("a later one")
    {
        segment = 5;
    }
    volume_world w;
    const unwritable_range bad{w.path, volume_world::begin_of(segment), block};
    std::uint64_t failed = 0;
    for (std::uint64_t n = 1; n < 400; ++n)
        failed += stores(w, keys({n})) ? 0 : 1;
    CHECK(failed == 1);
    CHECK(w.get(keys_to(320, 399), segment_world::payload_bytes).all());
}

TEST_CASE("segment volume: a disk that takes no writes for a while costs no more than the next segment")
{
    volume_world w;
    std::uint64_t first = 1;
    SUBCASE("from the start") {}
    SUBCASE("when it is full")
    {
        for (; first < 200; first += 7)
            REQUIRE(stores(w, keys_to(first, first + 6)));
    }
    const auto before = w.status();
    {
        const unwritable_range all{w.path};
        for (std::uint64_t n = 1000; n < 1100; ++n)
            CHECK_FALSE(stores(w, keys({n})));
    }
    CHECK(w.status().objects + 7 >= before.objects);
    for (std::uint64_t n = 2000; n < 2100; ++n)
        REQUIRE(stores(w, keys({n})));
    CHECK(w.status().health == adapter_health::healthy);
    CHECK(w.get(keys_to(2020, 2099), segment_world::payload_bytes).all());
}
