// Segments in one file or device, behind a label. What segments do wherever they lie is in the other segment tests.

#include "integration/adapter_world.hpp"
#include "integration/broken_sector.hpp"
#include "support/loop_device.hpp"

#include <array>
#include <string>
#include <system_error>

#include <terrace/segment_adapter.hpp>
#include <terrace/segment_inspection.hpp>

namespace fs = std::filesystem;
using namespace terrace;
using namespace terrace::test;

namespace {

constexpr std::uint64_t segment_bytes = 64 << 10; // seven records of 1000 bytes
constexpr std::uint64_t volume_bytes = block + 16 * segment_bytes;

/// A file of zeros, and adapters in it.
struct volume_world : adapter_world<segment_adapter> {
    explicit volume_world(std::uint64_t bytes = volume_bytes)
    {
        write_file(path, std::vector<char>(bytes));
        options.segment_bytes = segment_bytes;
        options.threads = 2;
    }

    void open()
    {
        adapter.reset();
        adapter = std::make_unique<segment_adapter>(options);
    }
    /// What the constructor says of it.
    std::string refusal()
    {
        adapter.reset();
        try {
            open();
        } catch (const std::exception& e) {
            return e.what();
        }
        return {};
    }
    [[nodiscard]] static bool says(const std::string& message, const std::string& part)
    {
        return message.find(part) != std::string::npos;
    }

    const fs::path path = directory.path() / "volume";
    segment_options options{path};
};

} // namespace

TEST_CASE("segment volume: a blank file is cut into segments, and as large as it was")
{
    volume_world w;
    w.open();
    CHECK(w.status().capacity_bytes == volume_bytes);
    CHECK(w.status().name == "segment:" + w.path.string());
    std::uint64_t n = 0;
    for (; n < 300; n += 5) {
        CHECK(w.put(keys_to(n, n + 4), 1000).all());
        CHECK(w.get(keys_to(n, n + 4), 1000).all());
    }
    CHECK(w.status().evicted_objects > 0);
    CHECK(w.status().objects >= 90);
    CHECK(fs::file_size(w.path) == volume_bytes);
    CHECK(std::distance(fs::directory_iterator{w.directory.path()}, fs::directory_iterator{}) == 1);
}

TEST_CASE("segment volume: the label is as docs/formats/segment.md says, and the segments lie behind it")
{
    volume_world w{volume_bytes + 1000};
    w.open();
    w.put(keys({1}), 1000);
    const std::vector<char> file = bytes_of(w.path);
    CHECK(std::string(file.begin(), file.begin() + 8) == "TERRVOLM");
    CHECK(number_at(file, 8, 4) == 1);
    CHECK(number_at(file, 12, 4) == 16);
    CHECK(number_at(file, 16, 8) == segment_bytes);
    CHECK(std::all_of(file.begin() + 24, file.begin() + 4088, [](char c) { return c == 0; }));
    CHECK(std::string(file.begin() + block, file.begin() + block + 8) == "TERRSEGM");
    CHECK(number_at(file, block + 12, 4) == 1);
    CHECK(std::string(file.begin() + 2 * block, file.begin() + 2 * block + 8) == "TERRRECD");
    CHECK(number_at(file, 2 * block + 24, 8) == block); // places are counted from the segment's start
}

TEST_CASE("segment volume: a new adapter finds what the last one stored, replaced and erased, without a snapshot")
{
    volume_world w;
    w.open();
    w.put(keys_to(1, 20), 1000);
    w.put(keys({3}), 2000);
    CHECK(w.erase(keys({2, 20})).all());
    for (const bool closed : {true, false}) {
        if (closed)
            w.run(w.adapter->close());
        w.options.segment_bytes = 0; // as it was cut
        w.open();
        CHECK(w.status().objects == 18);
        CHECK(w.status().corrupt_objects == 0);
        CHECK(w.has(keys({1, 2, 3, 20})) == bits({true, false, true, false}));
        CHECK(w.get(keys({3}), 2000).all());
        CHECK(w.get(keys_to(4, 19), 1000).all());
    }
}

TEST_CASE("segment volume: what was written again because it was hot is there after a start, too")
{
    volume_world w;
    w.open();
    w.put(keys_to(1, 7), 1000);
    for (std::uint64_t n = 100; n < 100 + 14 * 7; n += 7) {
        CHECK(w.get(keys({1}), 1000).all());
        w.put(keys_to(n, n + 6), 1000);
    }
    w.put(keys({500}), 1000); // the first segment is freed, and number 1 is in the last
    REQUIRE(w.has(keys({1, 2})) == bits({true, false}));
    w.open(); // to find the old record again, and the copy
    CHECK(w.get(keys({1}), 1000).all());
}

TEST_CASE("segment volume: a file that holds something else is refused and left as it is")
{
    volume_world w{4 << 20};
    std::vector<char> content(4 << 20);
    std::size_t where = 0;
    SUBCASE("at its start") {}
    SUBCASE("where ext4 has its magic")
    {
        where = 1080;
    }
    SUBCASE("where btrfs has its magic")
    {
        where = 65'600;
    }
    SUBCASE("at its end, where a volume manager may have its own")
    {
        where = content.size() - 1;
    }
    content[where] = 'x';
    write_file(w.path, content);
    const std::string message = w.refusal();
    CHECK(w.says(message, w.path.string() + " holds something else"));
    CHECK(w.says(message, "foreign=overwrite"));
    CHECK(bytes_of(w.path) == content);

    w.options.foreign = foreign_content::overwrite;
    w.open();
    CHECK(w.put(keys({1}), 1000).all());
    w.open(); // with the option still there, it keeps what is its own
    CHECK(w.get(keys({1}), 1000).all());
}

TEST_CASE("segment volume: a label that cannot be read is no reason to overwrite it")
{
    volume_world w;
    w.open();
    w.put(keys_to(1, 20), 1000);
    w.adapter.reset();
    w.options.foreign = foreign_content::overwrite;
    {
        const broken_sector bad{w.path, 0};
        CHECK(w.says(w.refusal(), "cannot read the label of " + w.path.string() + ": Input/output error"));
        CHECK_THROWS_AS((void)is_segment_store(w.path), std::system_error);
    }
    w.open();
    CHECK(w.get(keys_to(1, 20), 1000).all());
}

TEST_CASE("segment volume: a damaged label is not overwritten unless it is wiped")
{
    volume_world w;
    w.open();
    w.put(keys_to(1, 20), 1000);
    w.adapter.reset();
    std::size_t at = 8;
    SUBCASE("version") {}
    SUBCASE("number of segments")
    {
        at = 12;
    }
    SUBCASE("size")
    {
        at = 18;
    }
    SUBCASE("zeros")
    {
        at = 3000;
    }
    flip_bit(w.path, at);
    CHECK(w.says(w.refusal(), "has a label that is damaged or of another version"));
    w.options.foreign = foreign_content::overwrite;
    CHECK(w.says(w.refusal(), "has a label that is damaged or of another version"));
    flip_bit(w.path, at);
    w.open();
    CHECK(w.get(keys_to(1, 20), 1000).all());
    w.adapter.reset();
    write_at(w.path, 0, std::vector<char>(block));
    w.open();
    CHECK(w.status().objects == 0);
    CHECK(w.has(keys_to(1, 20)).none());
    CHECK(w.put(keys_to(1, 20), 1000).all());
}

TEST_CASE("segment volume: wiped at its ends, it is cut anew and has nothing of what was between them")
{
    volume_world w{4 << 20};
    w.open();
    w.put(keys_to(1, 400), 1000);
    w.adapter.reset();
    const std::vector<char> zeros(1 << 20);
    write_at(w.path, 0, zeros);
    write_at(w.path, 3 << 20, zeros);
    w.open();
    CHECK(w.status().objects == 0);
    CHECK(w.put(keys_to(1, 40), 1000).all());
}

TEST_CASE("segment volume: what does not fit together is refused, by name and value")
{
    volume_world w;
    SUBCASE("a capacity")
    {
        w.options.capacity_bytes = 2 << 20;
        CHECK(w.says(w.refusal(), "capacity is 2097152 bytes, expected none"));
    }
    SUBCASE("segments of another size")
    {
        w.open();
        w.options.segment_bytes = 2 * segment_bytes;
        CHECK(w.says(w.refusal(), "segment is 131072 bytes, expected 65536"));
    }
    SUBCASE("too small for two segments")
    {
        fs::resize_file(w.path, block + 2 * segment_bytes - 1);
        CHECK(w.says(w.refusal(), "has 135167 bytes, expected"));
    }
    SUBCASE("empty")
    {
        fs::resize_file(w.path, 0);
        w.options.segment_bytes = 0;
        CHECK(w.says(w.refusal(), "has 0 bytes, expected"));
    }
    SUBCASE("cut off since")
    {
        w.open();
        w.adapter.reset();
        fs::resize_file(w.path, volume_bytes - 1);
        CHECK(w.says(w.refusal(), "its label says 1052672"));
    }
    SUBCASE("in use")
    {
        w.open();
        CHECK_THROWS_WITH_AS(segment_adapter{w.options}, doctest::Contains("another process has it"),
                             std::system_error);
        w.run(w.adapter->close());
        const segment_adapter next{w.options};
    }
    SUBCASE("a spec that says so")
    {
        const auto make = [&](const std::string& query) {
            return make_segment_adapter(adapter_spec::parse("segment:" + w.path.string() + query));
        };
        CHECK_THROWS_WITH_AS((void)make("?foreign=yes"), doctest::Contains("foreign is \"yes\", expected refuse or"),
                             std::invalid_argument);
        CHECK(make("?segment=64KiB&foreign=overwrite")->status().capacity_bytes == volume_bytes);
        CHECK(make("?foreign=refuse")->status().capacity_bytes == volume_bytes);
    }
}

TEST_CASE("segment volume: an inspection finds what holds and what is damaged, in use or not")
{
    volume_world w;
    CHECK(!is_segment_store(w.path)); // no label yet
    w.open();
    CHECK(is_segment_store(w.path));
    w.put(keys_to(1, 10), 1000);
    w.erase(keys({2}));
    std::vector<object_key> whole;
    std::vector<std::string> problems;
    const auto look = [&] {
        whole.clear();
        inspect_segment_store(w.path, [&](const inspected_object& object) {
            if (object.problem.empty())
                whole.push_back(*object.key);
            else
                problems.push_back(object.where + ": " + object.problem);
        });
    };
    look();
    CHECK(whole.size() == 9);
    CHECK(problems.empty());

    w.adapter.reset();
    flip_bit(w.path, 2 * block + 2 * 2 * block + block + 500); // of the third object
    const auto before = bytes_of(w.path);
    look();
    CHECK(whole.size() == 8);
    REQUIRE(problems.size() == 1);
    CHECK(problems[0] == w.path.string() + ", segment 1 at 20480: its payload is not what was stored");
    CHECK(bytes_of(w.path) == before);
}

TEST_CASE("segment volume: a block device, which is another process's while it is open")
{
    test::temporary_directory directory;
    const fs::path file = directory.path() / "device";
    write_file(file, std::vector<char>(volume_bytes));
    const std::optional<loop_device> device = loop_device::over(file);
    if (!device) {
        MESSAGE("no block device can be made here");
        return;
    }
    volume_world w;
    w.options.place = device->path();
    w.open();
    CHECK(w.status().capacity_bytes == volume_bytes);
    CHECK(w.put(keys_to(1, 20), 1000).all());
    CHECK(w.get(keys_to(1, 20), 1000).all());
    CHECK_THROWS_AS(segment_adapter{w.options}, std::system_error);
    w.open();
    CHECK(w.status().objects == 20);
    CHECK(w.get(keys_to(1, 20), 1000).all());
}
