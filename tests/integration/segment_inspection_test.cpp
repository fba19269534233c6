#include "integration/broken_sector.hpp"
#include "support/temporary_directory.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <terrace/segment_adapter.hpp>

#include "inspect/inspection.hpp"

namespace fs = std::filesystem;
using namespace terrace;

namespace {

constexpr std::size_t block = 4096;
constexpr std::size_t payload_bytes = 1000; // two blocks with its header; seven records in a segment

object_key key(std::uint64_t n)
{
    return {"m", chunk_hash::from_number(n)};
}

std::vector<char> bytes_of(const fs::path& path)
{
    std::ifstream in{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
}

void write_at(const fs::path& path, std::size_t offset, const std::string& text)
{
    std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
    file.seekp(static_cast<std::streamoff>(offset)) << text;
    REQUIRE(file.good());
}

/// A segment adapter's directory, and what an inspection says of it.
struct store {
    explicit store(std::uint64_t capacity_bytes = 0)
    {
        options.capacity_bytes = capacity_bytes;
        options.segment_bytes = 64 << 10;
        adapter = std::make_unique<segment_adapter>(options);
    }

    template <class T>
    T run(asio::awaitable<T> call)
    {
        std::optional<T> answer;
        asio::co_spawn(context, std::move(call), [&](std::exception_ptr failed, T value) {
            REQUIRE_FALSE(failed);
            answer.emplace(std::move(value));
        });
        context.restart();
        context.run();
        return std::move(answer.value());
    }
    void put(std::uint64_t first, std::uint64_t last, std::size_t bytes = payload_bytes)
    {
        std::vector<std::vector<std::byte>> payloads;
        std::vector<store_item> items;
        for (std::uint64_t n = first; n <= last; ++n)
            payloads.emplace_back(bytes, static_cast<std::byte>(n));
        for (std::uint64_t n = first; n <= last; ++n)
            items.emplace_back(key(n), memory_layout::bytes(bytes), payloads[n - first]);
        REQUIRE(run(adapter->store(items)).all());
    }
    void erase(std::uint64_t n)
    {
        const std::vector<object_key> one{key(n)};
        REQUIRE(run(adapter->erase(one)).all());
    }
    void crash() { adapter.reset(); }
    void close()
    {
        asio::co_spawn(context, adapter->close(), [](std::exception_ptr failed) { REQUIRE_FALSE(failed); });
        context.restart();
        context.run();
        adapter.reset();
        REQUIRE(fs::exists(path / "snapshot"));
    }
    enum class ending { closed, crashed };
    void end(ending how) { how == ending::closed ? close() : crash(); }

    apps::inspection_summary look(const fs::path& at)
    {
        keys.clear();
        problems.clear();
        places.clear();
        unfinished.clear();
        return apps::inspect(at, [&](const inspected_object& object) {
            places.push_back(object.where);
            if (object.being_written)
                unfinished.push_back(object.problem);
            else if (object.problem.empty())
                keys.push_back(object.key.value());
            else
                problems.push_back(object.problem);
        });
    }
    apps::inspection_summary look() { return look(path); }
    [[nodiscard]] bool lists(std::uint64_t n) const { return std::ranges::count(keys, key(n)) == 1; }

    [[nodiscard]] fs::path segment(int number) const { return path / ("segment-00000" + std::to_string(number)); }
    [[nodiscard]] std::map<fs::path, std::vector<char>> files() const
    {
        std::map<fs::path, std::vector<char>> all;
        for (const auto& entry : fs::directory_iterator{path})
            all.emplace(entry.path(), bytes_of(entry.path()));
        return all;
    }

    asio::io_context context; // outlives the adapter's threads
    test::temporary_directory directory;
    const fs::path path = directory.path();
    segment_options options{path};
    std::unique_ptr<segment_adapter> adapter;
    std::vector<object_key> keys; // of what is whole
    std::vector<std::string> problems;
    std::vector<std::string> unfinished;
    std::vector<std::string> places; // of all
};

constexpr auto both_endings = {store::ending::closed, store::ending::crashed};
constexpr const char* torn = "its payload is not whole: a crash tore it";
constexpr const char* wrong_payload = "its payload is not what was stored";

} // namespace

TEST_CASE("inspect segments: what holds is listed, with its place, and nothing is changed")
{
    for (const auto how : both_endings) {
        CAPTURE(static_cast<int>(how));
        store s;
        s.put(1, 10);
        s.put(2, 2, 5000); // replaced, in the next segment
        s.erase(3);
        s.end(how);
        const auto before = s.files();
        const auto found = s.look();
        CHECK(found.store == "segment");
        CHECK(found.objects == 9);
        CHECK(found.payload_bytes == 8 * payload_bytes + 5000);
        CHECK(found.damaged_objects == 0);
        CHECK(s.lists(1));
        CHECK(s.lists(2));
        CHECK_FALSE(s.lists(3));
        CHECK(s.places.front() == s.segment(1).string() + " at 4096");
        CHECK(s.files() == before);

        CHECK(s.look(s.segment(2)).objects == 4); // 8, 9, 10 and the later 2: this segment only
        CHECK(s.lists(2));
        CHECK(s.look(s.segment(1)).objects == 5);
        CHECK_FALSE(s.lists(2));
    }
}

TEST_CASE("inspect segments: a store in use is looked at beside its adapter, which goes on")
{
    store s;
    s.put(1, 10);
    CHECK(s.look().objects == 10);
    s.put(11, 20);
    CHECK(s.look().objects == 20);
    CHECK(s.problems.empty());
}

TEST_CASE("inspect segments: what is not whole where an adapter writes is no damage, and is told apart")
{
    store s;
    s.put(1, 10); // 1 to 7 in the first segment, which is sealed
    std::string being_written;
    std::string damaged;
    SUBCASE("a payload")
    {
        write_at(s.segment(2), block + 2 * block + block + 17, "x");
        being_written = "its payload is not whole yet";
        damaged = torn;
    }
    SUBCASE("a record")
    {
        write_at(s.segment(2), block + 2 * block + 100, "x");
        being_written = "no record yet, in 8192 bytes";
        damaged = "no record where one should be, in 8192 bytes";
    }
    auto found = s.look();
    CHECK(found.objects == 9);
    CHECK(found.damaged_objects == 0);
    CHECK(s.unfinished == std::vector{being_written});

    write_at(s.segment(1), block + 2 * block + block + 17, "x"); // nobody writes there any more
    found = s.look();
    CHECK(found.damaged_objects == 1);
    CHECK(s.problems == std::vector<std::string>{wrong_payload});

    s.crash();
    found = s.look();
    CHECK(found.objects == 10);
    CHECK(found.damaged_objects == 2);
    CHECK(s.unfinished.empty());
    CHECK(s.problems == std::vector<std::string>{wrong_payload, damaged});
}

TEST_CASE("inspect segments: what was damaged in a segment that is filled again while it looks is left out")
{
    store s{1 << 20};
    s.put(1, 70);
    write_at(s.segment(4), block + 2 * block + 100, "x");
    REQUIRE(s.look().damaged_objects == 1);
    bool first = true;
    const auto found = apps::inspect(s.path, [&](const inspected_object&) {
        if (std::exchange(first, false))
            s.put(1000, 1200); // all segments are filled again
    });
    CHECK(found.damaged_objects == 0);
}

TEST_CASE("inspect segments: what is evicted while it looks is left out, and is no damage")
{
    store s{1 << 20};
    s.put(1, 70);
    std::uint64_t seen = 0;
    const auto found = apps::inspect(s.path, [&](const inspected_object& object) {
        CHECK(object.problem.empty());
        if (seen++ == 0)
            s.put(1000, 1200); // all segments are filled again
    });
    CHECK(found.damaged_objects == 0);
    CHECK(seen < 70);
}

TEST_CASE("inspect segments: what was evicted is not listed, though its bytes are still there")
{
    store s{1 << 20};
    s.put(1, 110);
    const std::uint64_t objects = s.adapter->status().objects;
    REQUIRE(objects < 110);
    s.close();
    CHECK(s.look().objects == objects);
    CHECK_FALSE(s.lists(1));
}

TEST_CASE("inspect segments: what is damaged is told, with the reason")
{
    for (const auto how : both_endings) {
        CAPTURE(static_cast<int>(how));
        const bool closed = how == store::ending::closed;
        store s;
        s.put(1, 10); // 1 to 7 in the first segment, which is sealed
        s.end(how);
        const fs::path sealed = s.segment(1);
        const fs::path open = s.segment(2);
        std::string reason = "its header is damaged, of another version, or not one";
        std::uint64_t lost = 1;
        SUBCASE("a bit of a payload")
        {
            write_at(sealed, block + 3 * 2 * block + block + 17, "x");
            reason = wrong_payload;
        }
        SUBCASE("a bit of a payload that a crash may have torn")
        {
            write_at(open, block + 2 * block + block + 17, "x");
            reason = closed ? wrong_payload : torn;
        }
        SUBCASE("a bit of a header")
        {
            write_at(sealed, block + 3 * 2 * block + 100, "x");
            if (!closed)
                reason = "no record where one should be, in 8192 bytes";
        }
        SUBCASE("another record in its place")
        {
            const auto bytes = bytes_of(sealed);
            write_at(sealed, block + 3 * 2 * block, std::string(bytes.data() + block, 2 * block));
            reason = closed ? "another record lies in its place" : "no record where one should be, in 8192 bytes";
        }
        SUBCASE("the header of a segment")
        {
            write_at(sealed, 100, "x");
            reason = "the segment's header is damaged, of another version, or not one";
            lost = 7;
        }
        const auto before = s.files();
        const auto found = s.look();
        CHECK(s.keys.size() == 10 - lost);
        CHECK(found.damaged_objects == 1);
        REQUIRE(s.problems.size() == 1);
        CHECK(s.problems[0] == reason);
        CHECK(s.files() == before);
    }
}

TEST_CASE("inspect segments: what cannot be read is told, with what the disk says")
{
    for (const auto how : both_endings) {
        CAPTURE(static_cast<int>(how));
        const bool closed = how == store::ending::closed;
        store s;
        s.put(1, 10);
        s.end(how);
        fs::path file = s.segment(1);
        std::size_t at = block + 3 * 2 * block;
        std::string reason = closed ? "its header cannot be read: " : "no record that can be read, in 8192 bytes: ";
        std::uint64_t lost = 1;
        SUBCASE("the header of a record") {}
        SUBCASE("a payload")
        {
            at += block;
            reason = "its payload cannot be read: ";
        }
        SUBCASE("a payload that a crash may have torn")
        {
            file = s.segment(2);
            at = 2 * block;
            reason = "its payload cannot be read: ";
        }
        SUBCASE("the header of a segment")
        {
            at = 0;
            reason = "the segment's header cannot be read: ";
            lost = 7;
        }
        SUBCASE("what lies behind the last record")
        {
            if (closed)
                continue;
            file = s.segment(2);
            at = 10 * block;
            reason = "no record that can be read, in 36864 bytes: ";
            lost = 0;
        }
        const test::broken_sector bad{file, at};
        const auto found = s.look();
        CHECK(s.keys.size() == 10 - lost);
        CHECK(found.damaged_objects == 1);
        REQUIRE(s.problems.size() == 1);
        CHECK(s.problems[0] == reason + "Input/output error");
    }
}

TEST_CASE("inspect segments: cut off, a segment has what is left of it")
{
    store s;
    s.put(1, 10);
    SUBCASE("after a crash")
    {
        s.crash();
        fs::resize_file(s.segment(1), block + 4 * 2 * block + 100);
        CHECK(s.look().objects == 7);
    }
    SUBCASE("after a close(), when what lay there is known")
    {
        s.close();
        fs::resize_file(s.segment(2), block); // the snapshot is not of this segment any more
        CHECK(s.look().objects == 7);
    }
    SUBCASE("to nothing")
    {
        s.crash();
        fs::resize_file(s.segment(1), 0);
        CHECK(s.look().objects == 3);
    }
    CHECK(s.problems.empty());
}

TEST_CASE("inspect segments: a damaged snapshot is passed over, as at a start")
{
    store s;
    s.put(1, 10);
    s.erase(4);
    s.close();
    write_at(s.path / "snapshot", 60, "x");
    CHECK(s.look().objects == 9);
    CHECK(s.problems.empty());
    CHECK(fs::exists(s.path / "snapshot"));
}

TEST_CASE("inspect segments: what is in a snapshot's place and is none is passed over")
{
    store s;
    s.put(1, 10);
    SUBCASE("a directory")
    {
        s.crash();
        fs::create_directory(s.path / "snapshot");
    }
    SUBCASE("one that has grown to terabytes")
    {
        s.close();
        fs::resize_file(s.path / "snapshot", std::uint64_t{8} << 40); // sparse
    }
    CHECK(s.look().objects == 10);
    CHECK(s.problems.empty());
}

TEST_CASE("inspect segments: a foreign file under a segment's name is told, one beside them is not looked at")
{
    store s;
    s.put(1, 3);
    s.crash();
    std::ofstream{s.segment(2)} << std::string(10'000, 'x');
    std::ofstream{s.path / "notes.txt"} << "somebody else's";
    CHECK(s.look().objects == 4);
    CHECK(s.keys.size() == 3);
    REQUIRE(s.problems.size() == 1);
    CHECK(s.problems[0] == "the segment's header is damaged, of another version, or not one");
    CHECK_THROWS_WITH_AS((void)apps::inspect(s.path / "notes.txt", {}), doctest::Contains("no store"),
                         std::invalid_argument);
}
