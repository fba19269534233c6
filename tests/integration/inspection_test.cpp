#include "integration/broken_sector.hpp"
#include "support/temporary_directory.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <sys/fsuid.h>
#include <system_error>
#include <vector>

#include <terrace/file_adapter.hpp>
#include <terrace/segment_adapter.hpp>

#include "inspect/inspection.hpp"

namespace fs = std::filesystem;
using namespace terrace;

namespace {

/// A file adapter's directory with three objects of 1, 5,000 and 10,000 bytes, and what an inspection says of it.
struct store {
    store()
    {
        asio::io_context context; // outlives the adapter's threads
        file_adapter adapter{file_options{path}};
        std::vector<std::vector<std::byte>> payloads;
        std::vector<store_item> items;
        for (const std::size_t size : {1U, 5'000U, 10'000U})
            payloads.emplace_back(size, static_cast<std::byte>(size));
        for (std::size_t i = 0; i < payloads.size(); ++i)
            items.emplace_back(object_key{"m", chunk_hash::from_number(i)}, memory_layout::bytes(payloads[i].size()),
                               payloads[i]);
        bool stored = false;
        asio::co_spawn(context, adapter.store(items),
                       [&](std::exception_ptr error, const bitmap& done) { stored = !error && done.all(); });
        context.run();
        REQUIRE(stored);
        const auto show = [](const fs::path& at) { // to not_root
            fs::permissions(at, fs::perms{fs::is_directory(at) ? 0755U : 0644U});
        };
        show(path);
        for (const auto& entry : fs::recursive_directory_iterator{path})
            show(entry);
    }

    [[nodiscard]] fs::path file_of(std::uint64_t n) const
    {
        const auto name = object_key{"m", chunk_hash::from_number(n)}.to_string() + ".kv";
        for (const auto& entry : fs::recursive_directory_iterator{path})
            if (entry.path().filename() == name)
                return entry.path();
        FAIL("no file of object ", n);
        return {};
    }
    apps::inspection_summary look(const fs::path& at)
    {
        problems.clear();
        return apps::inspect(at, [&](const inspected_object& object) {
            if (!object.problem.empty())
                problems.push_back(object.problem);
        });
    }

    test::temporary_directory directory;
    const fs::path path = directory.path();
    std::vector<std::string> problems;
};

/// While it lives, this thread opens files as nobody, who may do less than root.
class not_root {
public:
    not_root() : was_{::setfsuid(65'534)} {}
    not_root(const not_root&) = delete;
    not_root& operator=(const not_root&) = delete;
    ~not_root() { ::setfsuid(static_cast<uid_t>(was_)); }

private:
    int was_;
};

} // namespace

TEST_CASE("inspect: a store as it was written is whole")
{
    store s;
    std::ofstream{s.path / "notes.txt"} << "somebody else's";
    const auto found = s.look(s.path);
    CHECK(found.store == "file");
    CHECK(found.objects == 3);
    CHECK(found.payload_bytes == 15'001);
    CHECK(found.damaged_objects == 0);
    CHECK(s.look(s.file_of(1)).payload_bytes == 5'000); // one file alone
}

TEST_CASE("inspect: what is damaged is told, with the reason, and left as it is")
{
    store s;
    const auto file = s.file_of(1);
    std::string reason;
    SUBCASE("a flipped bit of the payload")
    {
        std::fstream{file, std::ios::in | std::ios::out | std::ios::binary}.seekp(4096 + 17).put('x');
        reason = "its payload is not what was stored";
    }
    SUBCASE("of the header")
    {
        std::fstream{file, std::ios::in | std::ios::out | std::ios::binary}.seekp(20).put('x');
        reason = "its header is damaged, of another version, or not one";
    }
    SUBCASE("cut short")
    {
        fs::resize_file(file, 4096 + 4'999);
        reason = "4999 bytes of payload, and its header says 5000";
    }
    SUBCASE("cut within the header")
    {
        fs::resize_file(file, 100);
        reason = "100 bytes, and a header has 4096";
    }
    SUBCASE("longer than it was")
    {
        fs::resize_file(file, 4096 + 5'001);
        reason = "5001 bytes of payload, and its header says 5000";
    }
    SUBCASE("under another object's name")
    {
        fs::copy_file(s.file_of(2), file, fs::copy_options::overwrite_existing);
        const auto other = s.file_of(2);
        reason = "it is the object of " + (other.parent_path().filename() / other.filename()).string();
    }
    const auto size = fs::file_size(file);
    const auto found = s.look(s.path);
    CHECK(found.objects == 3);
    CHECK(found.damaged_objects == 1);
    REQUIRE(s.problems.size() == 1);
    CHECK(s.problems[0] == reason);
    CHECK(fs::file_size(file) == size);
}

TEST_CASE("inspect: what cannot be read is told, and does not pass for whole")
{
    store s;
    const auto file = s.file_of(1);
    std::optional<test::broken_sector> broken;
    std::string reason = "it cannot be read: Permission denied";
    SUBCASE("a file")
    {
        fs::permissions(file, fs::perms::none);
    }
    SUBCASE("a folder")
    {
        fs::permissions(file.parent_path(), fs::perms::none);
    }
    SUBCASE("a part of a file")
    {
        broken.emplace(file, 4096);
        reason = "it cannot be read: Input/output error";
    }
    const not_root here;
    CHECK(s.look(s.path).damaged_objects == 1);
    REQUIRE(s.problems.size() == 1);
    CHECK(s.problems[0] == reason);
}

TEST_CASE("inspect: a directory that must not be looked into is no empty store")
{
    store s;
    fs::permissions(s.path, fs::perms::none);
    {
        const not_root here;
        CHECK_THROWS_WITH_AS((void)s.look(s.path), doctest::Contains("Permission denied"), std::system_error);
    }
    fs::permissions(s.path, fs::perms::owner_all);
}

TEST_CASE("inspect: a segment store in which nothing was stored is one")
{
    const test::temporary_directory at;
    auto adapter = std::make_unique<segment_adapter>(segment_options{at.path()});
    SUBCASE("in use") {}
    SUBCASE("left")
    {
        adapter.reset();
    }
    const auto found = apps::inspect(at.path(), {});
    CHECK(found.store == "segment");
    CHECK(found.objects == 0);
}

TEST_CASE("inspect: of two stores in one directory both are looked at")
{
    store s;
    { // no object, but damage
        const segment_adapter other{segment_options{s.path}};
        std::ofstream{s.path / "segment-000001"} << std::string(10'000, 'x');
    }
    const auto found = s.look(s.path);
    CHECK(found.store == "file and segment");
    CHECK(found.objects == 4);
    CHECK(found.damaged_objects == 1);
}

TEST_CASE("inspect: what is no store is refused")
{
    store s;
    const auto empty = s.path / "empty";
    fs::create_directory(empty);
    CHECK_THROWS_WITH_AS((void)apps::inspect(empty, {}), doctest::Contains("no store that this program knows"),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)apps::inspect(s.path / "gone", {}), doctest::Contains("there is nothing at"),
                         std::invalid_argument);
}
