// A file adapter's directory: which there can be, and several processes in it.

#include "integration/file_world.hpp"

#include "support/small_disk.hpp"

#include <stdexcept>
#include <system_error>

namespace fs = std::filesystem;
using namespace terrace;
using namespace terrace::test;

TEST_CASE("file adapter: what a process stores, another one in the same directory finds")
{
    file_world<> w;
    w.put(keys({1}));
    file_adapter other{w.options};
    const auto find = [&](std::vector<object_key> which) { return w.run(other.lookup_and_lock(which)); };
    const auto load = [&](std::uint64_t n) {
        const memory buffer{payload_bytes};
        const std::vector<load_item> items{{key(n), memory_layout::bytes(payload_bytes), buffer.bytes()}};
        return w.run(other.load(items)).all() && std::ranges::equal(buffer.bytes(), content(key(n), payload_bytes));
    };
    CHECK(other.status().objects == 1);

    w.put(keys({2}));
    CHECK(find(keys({1, 2, 3})) == bits({true, true, false}));
    CHECK(other.status().objects == 2);
    CHECK(other.status().used_bytes == 2 * file_bytes);
    CHECK(load(2));

    SUBCASE("erased there, it is a miss here and no damage")
    {
        CHECK(w.erase(keys({2})).all());
        CHECK(!load(2));
        CHECK(other.status().objects == 1);
        CHECK(other.status().corrupt_objects == 0);
        CHECK(other.status().health == adapter_health::healthy);
    }
    SUBCASE("erased here, it is gone there")
    {
        w.put(keys({4}));
        const std::vector<object_key> four = keys({4});
        CHECK(w.run(other.erase(four)).all());
        CHECK(w.get(keys({4})).none());
        CHECK(w.status().objects == 2);
    }
    SUBCASE("a load without a lookup finds it as well")
    {
        w.put(keys({5}));
        CHECK(load(5));
    }
}

TEST_CASE("file adapter: a file that is gone since the lookup is a miss")
{
    file_world<> w;
    w.put(keys({1, 2}));
    CHECK(w.lookup(keys({1, 2})).all());
    fs::remove(w.file_of(key(1)));
    CHECK(w.get(keys({1, 2})) == bits({false, true}));
    CHECK(w.status().objects == 1);
    CHECK(w.status().corrupt_objects == 0);
    w.unlock(keys({1, 2}));
    CHECK(w.status().locked_objects == 0);
}

TEST_CASE("file adapter: what is stored already is left as it is, where that is asked for")
{
    file_world<> w;
    w.put({key(1)});
    const auto file = w.file_of(key(1));
    const auto written = fs::last_write_time(file) - std::chrono::hours{1};
    fs::last_write_time(file, written);
    const auto put_if_absent = [&](const object_key& k, std::size_t bytes) {
        const auto payload = content(k, bytes);
        const std::vector<store_item> items{{k, memory_layout::bytes(bytes), payload, store_mode::if_absent}};
        return w.run(w.adapter->store(items)).all();
    };
    SUBCASE("under the same layout")
    {
        CHECK(put_if_absent(key(1), payload_bytes));
        CHECK(fs::last_write_time(file) == written);
        CHECK(w.status().kept_objects == 1);
    }
    SUBCASE("found by another process's adapter, which then knows it")
    {
        file_adapter other{w.options};
        w.adapter = std::make_unique<file_adapter>(w.options);
        CHECK(put_if_absent(key(1), payload_bytes));
        CHECK(w.status().objects == 1);
        CHECK(w.lookup({key(1)}).all());
    }
    SUBCASE("not under another layout")
    {
        CHECK(put_if_absent(key(1), 500));
        CHECK(w.status().kept_objects == 0);
        CHECK(w.get({key(1)}, 500).all());
    }
    SUBCASE("not where it is cut short")
    {
        fs::resize_file(file, file_bytes - 1);
        CHECK(put_if_absent(key(1), payload_bytes));
        CHECK(w.status().kept_objects == 0);
        CHECK(w.get({key(1)}).all());
    }
    SUBCASE("not where nothing is")
    {
        CHECK(put_if_absent(key(2), payload_bytes));
        CHECK(w.status().kept_objects == 0);
        CHECK(w.get({key(1), key(2)}).all());
    }
}

TEST_CASE("file adapter: a directory that cannot be made or written to is refused, by name")
{
    const temporary_directory at;
    write_file(at.path() / "file", std::string{"text"});
    const auto message_of = [](const fs::path& directory) {
        try {
            const file_adapter adapter{file_options{directory}};
        } catch (const std::system_error& e) {
            return std::string{e.what()};
        }
        return std::string{};
    };
    CHECK(message_of(at.path() / "file").find((at.path() / "file").string()) != std::string::npos);
    CHECK(message_of(at.path() / "file" / "below").find((at.path() / "file" / "below").string()) != std::string::npos);
    CHECK(message_of("/proc/terrace").find("/proc/terrace") != std::string::npos);

    const small_disk disk{at.path(), "ro"};
    if (disk.mounted())
        CHECK(message_of(at.path()).find("Read-only file system") != std::string::npos);
}

TEST_CASE("file adapter: options that cannot be are refused")
{
    const temporary_directory at;
    file_options options{at.path()};
    SUBCASE("no directory")
    {
        options.directory.clear();
    }
    SUBCASE("no thread")
    {
        options.threads = 0;
    }
    SUBCASE("too many threads")
    {
        options.threads = 257;
    }
    SUBCASE("no depth")
    {
        options.depth = 0;
    }
    SUBCASE("too deep")
    {
        options.depth = 4097;
    }
    SUBCASE("a capacity for nothing")
    {
        options.capacity_bytes = 4096;
    }
    SUBCASE("a policy that there is not, before the directory is made")
    {
        options.directory /= "sub";
        options.eviction = "fifo";
    }
    CHECK_THROWS_AS(file_adapter{options}, std::invalid_argument);
    CHECK_FALSE(fs::exists(at.path() / "sub"));
}

TEST_CASE("file adapter: its spec names directory, capacity, eviction and threads")
{
    const temporary_directory at;
    const auto make = [](const std::string& text) { return make_file_adapter(adapter_spec::parse(text)); };
    const auto adapter = make("file:" + (at.path() / "a/b").string() + "?capacity=1MiB&eviction=s3fifo&threads=2");
    CHECK(adapter->status().capacity_bytes == 1 << 20);
    CHECK(fs::is_directory(at.path() / "a/b"));
    CHECK_THROWS_AS(make("file:"), std::invalid_argument);
    CHECK_THROWS_AS(make("file:" + at.path().string() + "?treads=2"), std::invalid_argument);
    CHECK_THROWS_AS(make("file:" + at.path().string() + "?threads=5000000000"), std::invalid_argument);
    CHECK_THROWS_AS(make("file:" + at.path().string() + "?eviction=fifo"), std::invalid_argument);
    make("file:" + at.path().string() + "?io=auto&direct=off&sync=data&depth=8&inflight=16MiB");
    make("file:" + at.path().string() + "?io=threads&direct=on&sync=none&inflight=0");
    CHECK_THROWS_WITH_AS(make("file:" + at.path().string() + "?io=libaio"),
                         doctest::Contains("io is \"libaio\", expected one of auto, uring, threads"),
                         std::invalid_argument);
    CHECK_THROWS_AS(make("file:" + at.path().string() + "?direct=yes"), std::invalid_argument);
    CHECK_THROWS_AS(make("file:" + at.path().string() + "?sync=all"), std::invalid_argument);
    CHECK_THROWS_AS(make("file:" + at.path().string() + "?depth=0"), std::invalid_argument);
}
