// Where a segment adapter stores, with which options, and from and into which memory.

#include "integration/segment_world.hpp"

#include <stdexcept>
#include <system_error>

namespace fs = std::filesystem;
using namespace terrace;
using namespace terrace::test;

TEST_CASE("segment adapter: objects of all sizes come back, from and into memory of any alignment")
{
    segment_world w{0, 16 << 20};
    for (const bool aligned : {true, false})
        for (const std::size_t bytes :
             {std::size_t{1}, block - 1, block, block + 1, 16 * block, 16 * block + 1, std::size_t{1 << 20} + 1}) {
            CHECK(w.put(keys({bytes, bytes + 1}), bytes, aligned).all());
            CHECK(w.get(keys({bytes, bytes + 1}), bytes, true).all());
            CHECK(w.get(keys({bytes, bytes + 1}), bytes, false).all());
        }
    CHECK(w.status().corrupt_objects == 0);
}

TEST_CASE("segment adapter: a directory has one process at a time")
{
    segment_world w;
    CHECK_THROWS_WITH_AS(segment_adapter{w.options}, doctest::Contains("another process has it"), std::system_error);
    CHECK_THROWS_WITH_AS(segment_adapter{w.options}, doctest::Contains(w.directory.path().c_str()), std::system_error);
    w.run(w.adapter->close());
    const segment_adapter next{w.options};
    CHECK(next.status().objects == 0);
}

TEST_CASE("segment adapter: other people's files are not touched")
{
    segment_world w;
    w.adapter.reset();
    for (const char* name : {"segment-1", "segment-0000001", "segment-000000", "segment-00000x", "notes.txt"})
        std::ofstream{w.directory.path() / name} << "theirs";
    fs::create_directory(w.segment(1));
    w.open();
    CHECK(w.put(keys({1})).all());
    CHECK(fs::is_regular_file(w.segment(2)));
    w.open();
    CHECK(w.get(keys({1})).all());
    CHECK(bytes_of(w.directory.path() / "segment-1").size() == 6);
}

TEST_CASE("segment adapter: options that cannot be are refused, by name and value")
{
    const temporary_directory at;
    const auto make = [&](const std::string& query) {
        return make_segment_adapter(adapter_spec::parse("segment:" + (at.path() / "a/b").string() + query));
    };
    CHECK_THROWS_AS((void)make_segment_adapter(adapter_spec::parse("segment:")), std::invalid_argument);
    CHECK_THROWS_WITH_AS(make("?sync=full"), doctest::Contains("sync is \"full\", expected none or data"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS(make("?threads=0"), doctest::Contains("threads is 0"), std::invalid_argument);
    CHECK_THROWS_WITH_AS(make("?capacity=1000"), doctest::Contains("capacity is 1000"), std::invalid_argument);
    CHECK_THROWS_WITH_AS(make("?segment=1KiB"), doctest::Contains("segment is"), std::invalid_argument);
    CHECK_THROWS_WITH_AS(make("?capacity=1MiB&segment=1MiB"), doctest::Contains("expected at most"),
                         std::invalid_argument);
    CHECK_THROWS_AS(make("?io=magic"), std::invalid_argument);
    CHECK_THROWS_AS(make("?treads=2"), std::invalid_argument);
    CHECK_FALSE(fs::exists(at.path() / "a"));
    CHECK(make("?capacity=2MiB&segment=128KiB&sync=data&threads=2&io=threads")->status().capacity_bytes == 2 << 20);
    CHECK_THROWS_AS(segment_adapter{segment_options{"/proc/terrace"}}, std::system_error);
}
