// What a segment adapter finds when it starts, after a close() or a crash, and what it takes for damaged.

#include "integration/segment_world.hpp"

#include <array>
#include <sys/stat.h>

namespace fs = std::filesystem;
using namespace terrace;
using namespace terrace::test;

TEST_CASE("segment adapter: a segment is as docs/formats/segment.md says")
{
    segment_world w{0, 64 << 10};
    const object_key k{"m/x", chunk_hash::from_number(0x0102), 3, 4, "salt"};
    w.put({k});
    const std::vector<char> file = bytes_of(w.segment(1));
    REQUIRE(file.size() == 64 << 10);
    CHECK(std::string(file.begin(), file.begin() + 8) == "TERRSEGM");
    CHECK(number_at(file, 8, 4) == 1);
    CHECK(number_at(file, 12, 4) == 1);
    CHECK(number_at(file, 24, 8) == 1);
    CHECK(number_at(file, 32, 8) == 64 << 10);

    const char* record = file.data() + block;
    CHECK(std::string(record, record + 8) == "TERRRECD");
    CHECK(number_at(file, block + 8, 4) == 1);
    CHECK(number_at(file, block + 12, 4) == 1);
    CHECK(number_at(file, block + 16, 8) == number_at(file, 16, 8));
    CHECK(number_at(file, block + 24, 8) == block);
    CHECK(number_at(file, block + 32, 8) == 1);
    CHECK(number_at(file, block + 40, 8) == memory_layout::bytes(segment_world::payload_bytes).fingerprint());
    CHECK(number_at(file, block + 48, 8) == segment_world::payload_bytes);
    CHECK(number_at(file, block + 64, 8) == 1);
    CHECK(number_at(file, block + 72, 2) == k.to_string().size());
    CHECK(std::string(record + 74, record + 74 + k.to_string().size()) == k.to_string());
    CHECK(std::ranges::equal(std::as_bytes(std::span{file}).subspan(2 * block, segment_world::payload_bytes),
                             content(k, segment_world::payload_bytes)));
}

TEST_CASE("segment adapter: a new one in the directory knows what the last one stored, replaced and erased")
{
    auto how = segment_world::ending::closed;
    SUBCASE("closed") {}
    SUBCASE("crashed")
    {
        how = segment_world::ending::crashed;
    }
    segment_world w{0, 64 << 10}; // 7 records a segment
    w.put(keys_to(1, 20));
    w.put(keys({3}), 2000);
    CHECK(w.erase(keys({2, 20})).all());
    w.put(keys({20}));
    w.erase(keys({4}));
    const auto expected_used = w.status().used_bytes;

    for (int round = 0; round < 3; ++round) {
        w.reopen(how);
        CHECK(w.status().objects == 18);
        CHECK(w.status().used_bytes == expected_used);
        CHECK(w.status().corrupt_objects == 0);
        CHECK(w.has(keys({1, 2, 3, 4, 5, 20})) == bits({true, false, true, false, true, true}));
        CHECK(w.get(keys({3}), 2000).all());
        CHECK(w.get(keys_to(5, 20)).all());
        CHECK(w.put(keys({5})).all()); // and goes on
    }
}

TEST_CASE("segment adapter: a snapshot that is damaged or of another time is passed over")
{
    segment_world w{0, 64 << 10};
    w.put(keys_to(1, 5));
    w.run(w.adapter->close());
    const fs::path snapshot = w.directory.path() / "snapshot";
    SUBCASE("a bit")
    {
        flip_bit(snapshot, fs::file_size(snapshot) / 2);
    }
    SUBCASE("cut short")
    {
        fs::resize_file(snapshot, fs::file_size(snapshot) - 9);
    }
    SUBCASE("empty")
    {
        fs::resize_file(snapshot, 0);
    }
    SUBCASE("of one segment fewer")
    {
        const std::vector<char> before = bytes_of(snapshot);
        w.open();
        w.put(keys_to(6, 20));
        w.adapter.reset();
        std::ofstream{snapshot, std::ios::binary}.write(before.data(), static_cast<std::streamsize>(before.size()));
        w.open();
        CHECK(w.get(keys_to(6, 20)).all());
    }
    SUBCASE("larger than it says")
    {
        fs::resize_file(snapshot, std::uint64_t{8} << 40); // sparse
    }
    SUBCASE("larger than it says, and other people's")
    {
        fs::resize_file(snapshot, 0);
        fs::resize_file(snapshot, std::uint64_t{8} << 40);
    }
    SUBCASE("a pipe")
    {
        fs::remove(snapshot);
        REQUIRE(::mkfifo(snapshot.c_str(), 0600) == 0);
    }
    SUBCASE("somebody else's")
    {
        std::ofstream{snapshot, std::ios::binary} << "TERRSNAP, or so";
    }
    w.open();
    CHECK(w.get(keys_to(1, 5)).all());
    CHECK(w.status().corrupt_objects == 0);
}

TEST_CASE("segment adapter: a directory in the snapshot's place costs a scan at each start")
{
    segment_world w{0, 64 << 10};
    w.put(keys_to(1, 5));
    w.adapter.reset();
    fs::create_directory(w.directory.path() / "snapshot");
    w.open();
    CHECK(w.get(keys_to(1, 5)).all());
    w.run(w.adapter->close());
    CHECK(w.status().problem == "writing the snapshot: Is a directory");
    w.open();
    CHECK(w.get(keys_to(1, 5)).all());
}

TEST_CASE("segment adapter: a payload of more than one piece is verified after a crash")
{
    segment_world w{0, 16 << 20};
    for (const std::size_t bytes : {std::size_t{1} << 20, (std::size_t{1} << 20) + 1, (std::size_t{5} << 20) + 4095})
        w.put(keys({bytes}), bytes);
    w.open();
    CHECK(w.status().objects == 3);
    w.put(keys({1}), 3 << 20);
    w.adapter.reset();
    flip_bit(w.segment(2), 2 * block + (3 << 20) - 1);
    w.open();
    CHECK(w.status().objects == 3); // it counts as torn
    CHECK(w.status().corrupt_objects == 0);
}

TEST_CASE("segment adapter: a snapshot of the same segments in an earlier life is passed over")
{
    segment_world w{1 << 20, 64 << 10};
    w.put(keys_to(1, 104)); // every segment is there
    w.run(w.adapter->close());
    const fs::path snapshot = w.directory.path() / "snapshot";
    const std::vector<char> before = bytes_of(snapshot);
    w.open();
    w.put(keys_to(200, 300));
    w.adapter.reset();
    std::ofstream{snapshot, std::ios::binary}.write(before.data(), static_cast<std::streamsize>(before.size()));
    w.open();
    CHECK(w.get(keys_to(220, 300)).all());
    CHECK(w.has(keys_to(1, 90)).none());
}

TEST_CASE("segment adapter: what an earlier life of a segment left behind its end is not found after a crash")
{
    segment_world w{1 << 20, 64 << 10};
    w.put(keys_to(1, 15 * 7)); // fills all, and the first is freed
    w.put(keys({200}));        // to which this goes
    REQUIRE(w.has(keys_to(1, 7)).none());
    w.reopen(segment_world::ending::crashed);
    CHECK(w.has(keys_to(1, 7)).none());
    CHECK(w.get(keys({200})).all());
}

TEST_CASE("segment adapter: a record that was torn is not there after a crash, the others are")
{
    segment_world w;
    constexpr std::size_t bytes = 3 * block;
    w.put(keys({1}), bytes);
    w.put(keys({2}), bytes);
    w.put(keys({3}), bytes);
    w.adapter.reset();
    const std::size_t third = block + 2 * 4 * block;
    const std::vector<char> whole = bytes_of(w.segment(1));

    for (const char remains : {'\0', '\xa5'})
        for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, std::size_t{8}, std::size_t{100}, block - 8,
                                      block - 1, block, block + 1, 2 * block, 4 * block - 1}) {
            CAPTURE(cut);
            write_at(w.segment(1), 0, whole);
            write_at(w.segment(1), third + cut, std::vector<char>(4 * block - cut, remains));
            w.open();
            CHECK(w.get(keys({1, 2, 3}), bytes) == bits({true, true, false}));
            CHECK(w.status().objects == 2);
            CHECK(w.status().corrupt_objects == 0);
            CHECK(w.put(keys({3}), bytes).all());
            CHECK(w.get(keys({3}), bytes).all());
            w.adapter.reset();
            fs::remove(w.segment(2));
        }
    SUBCASE("what was written after it is")
    {
        write_at(w.segment(1), 0, whole);
        write_at(w.segment(1), block + 4 * block, std::vector<char>(block, '\0')); // the second one's header
        w.open();
        CHECK(w.get(keys({1, 2, 3}), bytes) == bits({true, false, true}));
    }
}

TEST_CASE("segment adapter: an erased object stays away, though its record outlives others")
{
    segment_world w{1 << 20, 64 << 10};
    w.put(keys_to(1, 7)); // the first segment
    w.get(keys({1}));
    w.erase(keys_to(2, 7));
    std::uint64_t n = 100;
    for (int round = 0; round < 40; ++round) {
        for (int i = 0; i < 4; ++i, n += 3) {
            w.get(keys({1}));
            w.put(keys_to(n, n + 2));
        }
        w.erase(keys({n - 1}));
        w.reopen(segment_world::ending::crashed);
        CHECK(w.has(keys_to(2, 7)).none());
        CHECK(w.has(keys({n - 1})).none());
    }
}

TEST_CASE("segment adapter: a damaged object is a miss, is counted and removed")
{
    segment_world w;
    w.put(keys({1, 2}));
    SUBCASE("a bit of the payload")
    {
        flip_bit(w.segment(1), 2 * block + 999);
    }
    SUBCASE("a bit of the header")
    {
        flip_bit(w.segment(1), block + 50);
    }
    SUBCASE("another record")
    {
        const std::vector<char> file = bytes_of(w.segment(1));
        write_at(w.segment(1), block, std::span{file}.subspan(3 * block, 2 * block));
    }
    SUBCASE("cut off")
    {
        fs::resize_file(w.segment(1), 2 * block);
        CHECK(w.get(keys({2})).none());
        CHECK(w.status().corrupt_objects == 1);
        w.put(keys({2}));
        CHECK(w.get(keys({1, 2})) == bits({false, true}));
        return;
    }
    CHECK(w.get(keys({1, 2})) == bits({false, true}));
    CHECK(w.status().corrupt_objects == 1);
    CHECK(w.status().objects == 1);
    CHECK(w.put(keys({1})).all());
    CHECK(w.get(keys({1})).all());
}

TEST_CASE("segment adapter: of two stores of a key at once the later one holds, also after a crash")
{
    segment_world w;
    const std::array versions{content(1, 3000), content(2, 3000)};
    int stored = 0;
    std::vector<std::vector<store_item>> items;
    for (const auto& version : versions)
        items.push_back({{key(1), memory_layout::bytes(3000), version}});
    for (const auto& item : items)
        asio::co_spawn(w.context, w.adapter->store(item),
                       [&](std::exception_ptr, const bitmap& b) { stored += b.all() ? 1 : 0; });
    w.context.restart();
    w.context.run();
    CHECK(stored == 2);
    CHECK(w.status().objects == 1);
    w.open();
    std::vector<std::byte> buffer(3000);
    const std::vector<load_item> loads{{key(1), memory_layout::bytes(3000), buffer}};
    CHECK(w.run(w.adapter->load(loads)).all());
    CHECK(buffer == versions[1]); // the later one
}

TEST_CASE("segment adapter: a thousand objects that are erased in one call stay away after a crash")
{
    segment_world w;
    w.put(keys_to(1, 1000));
    CHECK(w.erase(keys_to(1, 1000)).all());
    w.reopen(segment_world::ending::crashed);
    CHECK(w.status().objects == 0);
}
