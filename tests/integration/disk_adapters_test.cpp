// What both adapters on disk promise beyond the contract that the conformance suite checks.

#include "integration/adapter_world.hpp"
#include "integration/broken_sector.hpp"

#include <array>
#include <boost/system/system_error.hpp>
#include <stdexcept>
#include <string>
#include <system_error>

#include <terrace/file_adapter.hpp>
#include <terrace/segment_adapter.hpp>

using namespace terrace;
using namespace terrace::test;
using namespace std::string_literals;

namespace {

struct files : adapter_world<l2_adapter> {
    static constexpr const char* name = "file adapter";
    static std::unique_ptr<l2_adapter> make(const std::string& spec)
    {
        return make_file_adapter(adapter_spec::parse("file:" + spec));
    }
    static constexpr file_io threads = file_io::threads;
    explicit files(file_io io = file_io::automatic)
    {
        file_options options{directory.path()};
        options.threads = 2;
        options.io = io;
        adapter = std::make_unique<file_adapter>(options);
    }
    /// The file in which the first object lies, and where in it its payload does.
    [[nodiscard]] std::filesystem::path place_of_first() const
    {
        for (const auto& entry : std::filesystem::recursive_directory_iterator{directory.path()})
            if (entry.path().filename() == key(1).to_string() + ".kv")
                return entry.path();
        return {};
    }
    static constexpr std::uint64_t first_payload = block;
};
struct segments : adapter_world<l2_adapter> {
    static constexpr const char* name = "segment adapter";
    static std::unique_ptr<l2_adapter> make(const std::string& spec)
    {
        return make_segment_adapter(adapter_spec::parse("segment:" + spec));
    }
    static constexpr const char* threads = "threads";
    explicit segments(const char* io = "auto")
    {
        segment_options options{directory.path()};
        options.segment_bytes = 4 << 20;
        options.threads = 2;
        options.io = io;
        adapter = std::make_unique<segment_adapter>(options);
    }
    [[nodiscard]] std::filesystem::path place_of_first() const { return directory.path() / "segment-000001"; }
    static constexpr std::uint64_t first_payload = 2 * block; // after the headers of the segment and of the record
};

} // namespace

TEST_CASE_TEMPLATE("disk adapters: wrong arguments are refused before anything changes", World, files, segments)
{
    World w;
    std::array<std::byte, 10> bytes{};
    const std::vector<load_item> loads{{key(1), memory_layout::bytes(11), bytes}};
    const std::vector<store_item> stores{{key(1), memory_layout::bytes(11), bytes}};
    const std::vector<store_item> nameless{{object_key{}, memory_layout::bytes(10), bytes}};
    CHECK_THROWS_AS(w.run(w.adapter->load(loads)), std::invalid_argument);
    CHECK_THROWS_AS(w.run(w.adapter->store(stores)), std::invalid_argument);
    CHECK_THROWS_AS(w.run(w.adapter->store(nameless)), std::invalid_argument);
    CHECK_THROWS_AS((void)w.lookup({object_key{}}), std::invalid_argument);
    CHECK(w.status().in_flight == 0);
    CHECK(w.status().objects == 0);
}

TEST_CASE_TEMPLATE("disk adapters: closed, they hold no lock and refuse every call", World, files, segments)
{
    World w;
    w.put(keys({1}), 1000);
    w.lookup(keys({1}));
    w.run(w.adapter->close());
    CHECK(w.status().locked_objects == 0);
    CHECK(w.status().in_flight == 0);
    CHECK_THROWS_WITH_AS((void)w.lookup(keys({1})), doctest::Contains(World::name), boost::system::system_error);
    CHECK_THROWS_AS((void)w.get(keys({1}), 1000), boost::system::system_error);
}

TEST_CASE_TEMPLATE("disk adapters: destroyed without close(), they end what is in flight first", World, files, segments)
{
    World w;
    const std::vector<object_key> many = keys_to(1, 50);
    w.put(many, 64 * 1024);
    // Freed together right after the adapter: the sanitizers see a thread that still uses them. Loads and stores have
    // their own: bytes that are stored must not change meanwhile.
    auto buffers = std::make_unique<std::vector<memory>>();
    std::vector<load_item> loads;
    std::vector<store_item> stores;
    for (const object_key& k : many) {
        buffers->emplace_back(64 * 1024);
        loads.emplace_back(k, memory_layout::bytes(64 * 1024), buffers->back().bytes());
        buffers->emplace_back(64 * 1024);
        stores.emplace_back(k, memory_layout::bytes(64 * 1024), buffers->back().bytes());
    }
    int ended = 0;
    asio::co_spawn(w.context, w.adapter->load(loads), [&](std::exception_ptr, const bitmap&) { ++ended; });
    asio::co_spawn(w.context, w.adapter->store(stores), [&](std::exception_ptr, const bitmap&) { ++ended; });
    w.context.restart();
    int handlers = 2; // both have begun
    SUBCASE("at once") {}
    SUBCASE("somewhat later")
    {
        handlers = 4;
    }
    SUBCASE("later still")
    {
        handlers = 6;
    }
    for (int i = 0; i < handlers; ++i)
        w.context.run_one();
    w.adapter.reset();
    buffers.reset();
    SUBCASE("and the calls end on their executor")
    {
        w.context.run();
        CHECK(ended == 2);
    }
    SUBCASE("or never, when that goes too") {}
}

TEST_CASE_TEMPLATE("disk adapters: no directory is made in /dev, where a device should be", World, files, segments)
{
    const std::string device = "/dev/terrace-no-such-device";
    for (const std::string& path : {device, device + "/cache", "/dev/../dev/terrace-no-such-device"s}) {
        CHECK_THROWS_WITH_AS((void)World::make(path),
                             (World::name + ": cannot make the directory "s + path + ": No such device").c_str(),
                             std::system_error);
        CHECK_FALSE(std::filesystem::exists(device));
    }
}

TEST_CASE_TEMPLATE("disk adapters: a directory is made, unless that is not wanted", World, files, segments)
{
    const temporary_directory at;
    const std::string path = (at.path() / "mounted/cache").string();
    CHECK_THROWS_WITH_AS((void)World::make(path + "?make=off"), doctest::Contains(path.c_str()), std::system_error);
    CHECK(std::filesystem::is_empty(at.path()));
    CHECK(World::make(path)->status().objects == 0);
    CHECK(World::make(path + "?make=off")->status().objects == 0);
    CHECK_THROWS_WITH_AS((void)World::make(path + "?make=no"), doctest::Contains("make is \"no\", expected"),
                         std::invalid_argument);
}

TEST_CASE_TEMPLATE("disk adapters: what they make can be read by nobody but its owner", World, files, segments)
{
    World w;
    w.adapter = World::make((w.directory.path() / "made/cache").string());
    CHECK(w.put(keys({1, 2}), 1000).all());
    w.run(w.adapter->close());
    for (const auto& entry : std::filesystem::recursive_directory_iterator{w.directory.path() / "made"}) {
        CAPTURE(entry.path());
        using std::filesystem::perms;
        CHECK((entry.status().permissions() & (perms::group_all | perms::others_all)) == perms::none);
    }
}

TEST_CASE_TEMPLATE("disk adapters: what the disk cannot read is a miss, and its next store writes it elsewhere", World,
                   files, segments)
{
    World w{World::threads};
    const auto store_again = [&] { return w.put(keys({1}), 64 * 1024, true, store_mode::if_absent); };
    w.put(keys({1, 2}), 64 * 1024);
    int error = EIO;
    SUBCASE("EIO") {}
    SUBCASE("ENODATA, as block devices say of a sector")
    {
        error = ENODATA;
    }
    const broken_sector broken{w.place_of_first(), World::first_payload + block, error};
    CHECK(w.get(keys({1, 2}), 64 * 1024) == bits({false, true}));
    CHECK(w.get(keys({1}), 64 * 1024).none());
    CHECK(broken.failures() == 2);
    CHECK(w.status().objects == 2); // the disk may be back any moment
    CHECK(w.status().corrupt_objects == 1);
    CHECK(w.status().health == adapter_health::degraded);
    CHECK(w.status().problem.find("loading") != std::string::npos);

    CHECK(store_again().all());
    CHECK(w.status().kept_objects == 0);
    CHECK(w.get(keys({1, 2}), 64 * 1024).all());
    CHECK(w.status().health == adapter_health::healthy);
    CHECK(w.status().objects == 2);

    CHECK(store_again().all());
    CHECK(w.status().kept_objects == 1);
}

TEST_CASE_TEMPLATE("disk adapters: what could not be read for want of memory stays where it is", World, files, segments)
{
    World w{World::threads};
    w.put(keys({1}), 64 * 1024);
    {
        const broken_sector broken{w.place_of_first(), World::first_payload, ENOMEM};
        CHECK(w.get(keys({1}), 64 * 1024).none());
    }
    CHECK(w.put(keys({1}), 64 * 1024, true, store_mode::if_absent).all());
    CHECK(w.status().kept_objects == 1);
    CHECK(w.status().corrupt_objects == 0);
    CHECK(w.get(keys({1}), 64 * 1024).all());
}
