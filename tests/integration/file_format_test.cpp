// What lies in a file adapter's directory, what it takes for its own, and what it refuses.

#include "integration/file_world.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;
using namespace terrace;
using namespace terrace::test;

TEST_CASE("file adapter: the file is as docs/formats/file.md says")
{
    file_world<> w;
    const object_key k{"m/x", chunk_hash::from_number(0x0102), 3, 4, "salt"};
    w.put({k});
    REQUIRE(w.files().size() == 1);
    const fs::path path = w.files().front();
    CHECK(path.lexically_relative(w.directory.path()) == "9a/m%2fx@00000003@0004@0000000000000102@salt.kv");

    const std::vector<char> file = bytes_of(path);
    REQUIRE(file.size() == file_bytes);
    CHECK(std::string(file.begin(), file.begin() + 8) == "TERRFILE");
    CHECK(number_at(file, 8, 4) == 1);
    CHECK(number_at(file, 12, 4) == 4096);
    CHECK(number_at(file, 16, 8) == memory_layout::bytes(payload_bytes).fingerprint());
    CHECK(number_at(file, 24, 8) == payload_bytes);
    const std::string text = k.to_string();
    CHECK(number_at(file, 40, 8) == text.size());
    CHECK(std::string(file.begin() + 48, file.begin() + 48 + static_cast<std::ptrdiff_t>(text.size())) == text);
    CHECK(std::all_of(file.begin() + 48 + static_cast<std::ptrdiff_t>(text.size()), file.begin() + 4088,
                      [](char c) { return c == 0; }));
    CHECK(std::ranges::equal(std::as_bytes(std::span{file}).subspan(4096), content(k, payload_bytes)));
}

TEST_CASE("file adapter: a key too long for a file name is stored under a hash of it")
{
    file_world<> w;
    const object_key longest{std::string(255, '/'), chunk_hash::from_number(1), 0, 0, std::string(128, '%')};
    CHECK(w.put({longest, key(1)}).all());
    for (const fs::path& path : w.files())
        CHECK(path.filename().string().size() <= 255);
    CHECK(w.get({longest}).all());

    w.open();
    CHECK(w.status().objects == 2);
    const key_page page = w.run(w.adapter->list({}));
    CHECK(std::ranges::find(page.keys, longest) != page.keys.end());
    CHECK(w.get({longest}).all());

    SUBCASE("with a damaged header, whatever the damage, it is removed at start")
    {
        std::size_t offset = 50;
        SUBCASE("in the key") {}
        SUBCASE("beside the key")
        {
            offset = 16;
        }
        for (const fs::path& path : w.files())
            if (path.filename().string().front() == '~')
                flip_bit(path, offset);
        w.open();
        CHECK(w.status().objects == 1);
        CHECK(w.status().corrupt_objects == 1);
        CHECK(w.files().size() == 1);
    }
}

TEST_CASE_TEMPLATE("file adapter: a damaged object is a miss, is counted and removed", How, on_ring, on_threads, cached)
{
    file_world<How> w;
    w.put(keys({1, 2}));
    const fs::path path = w.file_of(key(1));

    SUBCASE("a bit of the payload")
    {
        flip_bit(path, header_bytes + 999);
    }
    SUBCASE("a bit of the magic")
    {
        flip_bit(path, 0);
    }
    SUBCASE("a bit of the version")
    {
        flip_bit(path, 8);
    }
    SUBCASE("a bit of the fingerprint")
    {
        flip_bit(path, 16);
    }
    SUBCASE("a bit of the length")
    {
        flip_bit(path, 24);
    }
    SUBCASE("a bit of the payload's checksum")
    {
        flip_bit(path, 32);
    }
    SUBCASE("a bit of the key")
    {
        flip_bit(path, 50);
    }
    SUBCASE("a bit of the zeros")
    {
        flip_bit(path, 4000);
    }
    SUBCASE("a bit of the header's checksum")
    {
        flip_bit(path, 4095);
    }
    SUBCASE("the last byte missing")
    {
        fs::resize_file(path, file_bytes - 1);
    }
    SUBCASE("no payload")
    {
        fs::resize_file(path, header_bytes);
    }
    SUBCASE("nothing at all")
    {
        fs::resize_file(path, 0);
    }
    SUBCASE("a byte too many")
    {
        fs::resize_file(path, file_bytes + 1);
    }
    SUBCASE("another key's object")
    {
        fs::copy_file(w.file_of(key(2)), path, fs::copy_options::overwrite_existing);
    }

    CHECK(w.get(keys({1, 2})) == bits({false, true}));
    CHECK(w.status().corrupt_objects == 1);
    CHECK(w.status().objects == 1);
    CHECK(w.status().used_bytes == file_bytes);
    CHECK(!fs::exists(path));
    CHECK(w.lookup(keys({1})).none());
    CHECK(w.put(keys({1})).all());
    CHECK(w.get(keys({1})).all());
    CHECK(w.status().corrupt_objects == 1);
}

TEST_CASE("file adapter: objects that are damaged at start are removed then or at their load")
{
    file_world<> w;
    w.put(keys({1, 2, 3}));
    fs::resize_file(w.file_of(key(1)), 100);
    fs::resize_file(w.file_of(key(2)), header_bytes + 1);
    w.open();
    CHECK(w.status().objects == 2);
    CHECK(w.status().corrupt_objects == 1);
    CHECK(w.get(keys({1, 2, 3})) == bits({false, false, true}));
    CHECK(w.status().objects == 1);
    CHECK(w.status().corrupt_objects == 2);
    CHECK(w.files().size() == 1);
}

TEST_CASE("file adapter: other people's files are neither counted nor touched")
{
    file_world<> w;
    w.put(keys({1}));
    const fs::path folder = w.file_of(key(1)).parent_path();
    const std::string name = w.file_of(key(1)).filename().string();
    const std::string other_folder = folder.filename() == "00" ? "01" : "00";
    const std::vector<fs::path> theirs{
        w.directory.path() / "notes.txt",
        w.directory.path() / name,                // not in a folder
        w.directory.path() / other_folder / name, // not in the folder of its key
        w.directory.path() / "xyz" / "some.kv",
        folder / "short.kv",
        folder / "model@00000000@0000@zz.kv",
        folder / "~0123.kv",
        folder / ".terrace-0123456789abcdef-.tmp",
        folder / ".terrace-0123456789ABCDEF-1.tmp",
        folder / "upload.tmp",
    };
    for (const fs::path& path : theirs)
        write_file(path, std::string{"theirs"});
    fs::create_directory(folder / "model@00000000@0000@0000000000000099.kv");
    w.open();
    CHECK(w.status().objects == 1);
    CHECK(w.status().corrupt_objects == 0);
    w.erase(keys({1}));
    for (const fs::path& path : theirs)
        CHECK_MESSAGE(bytes_of(path).size() == 6, path.string());
}

TEST_CASE("file adapter: a directory or a FIFO in an object's place is no object, and stays")
{
    file_world<> w;
    w.put(keys({1}));
    const fs::path path = w.file_of(key(1));
    fs::remove(path);
    SUBCASE("directory")
    {
        fs::create_directory(path);
    }
    SUBCASE("FIFO")
    {
        REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    }
    CHECK(w.get(keys({1})).none());
    CHECK(w.lookup(keys({1})).none());
    CHECK(w.status().objects == 0);
    CHECK(w.status().corrupt_objects == 0);
    CHECK(fs::exists(path));
    w.open();
    CHECK(w.status().objects == 0);
    CHECK(fs::exists(path));
}

TEST_CASE("file adapter: temporary files of dead processes are removed at start, those of live ones are not")
{
    file_world<> w;
    const fs::path dead = w.directory.path() / "00" / ".terrace-0123456789abcdef-7.tmp";
    const fs::path live = w.directory.path() / "ff" / ".terrace-0123456789abcdef-8.tmp";
    write_file(dead, std::string{"half"});
    write_file(live, std::string{"half"});
    const int file = ::open(live.c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(::flock(file, LOCK_EX) == 0);
    w.open();
    CHECK(!fs::exists(dead));
    CHECK(fs::exists(live));
    CHECK(w.status().objects == 0);
    CHECK(w.status().corrupt_objects == 0);
    ::close(file); // as the kernel does for a process that is killed
    w.open();
    CHECK(!fs::exists(live));
}
