#include "support/temporary_directory.hpp"

#include <terrace/file_adapter.hpp>

#include <array>
#include <boost/align/aligned_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/system_error.hpp>
#include <csignal>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <stdexcept>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace asio = boost::asio;
namespace fs = std::filesystem;
using terrace::adapter_health;
using terrace::bitmap;
using terrace::chunk_hash;
using terrace::direct_io;
using terrace::file_adapter;
using terrace::file_io;
using terrace::file_options;
using terrace::file_sync;
using terrace::list_cursor;
using terrace::memory_layout;
using terrace::object_key;
using terrace::test::temporary_directory;

namespace {

constexpr std::size_t header_bytes = 4096;
constexpr std::size_t payload_bytes = 4096; // whole pages, so that they can be moved directly
constexpr std::size_t file_bytes = header_bytes + payload_bytes;

using page_aligned = std::vector<std::byte, boost::alignment::aligned_allocator<std::byte, 4096>>;

/// The ways of a file_adapter, one after the other.
struct on_ring { // where the kernel has it
    static constexpr file_io io = file_io::automatic;
    static constexpr direct_io direct = direct_io::on;
};
struct on_threads {
    static constexpr file_io io = file_io::threads;
    static constexpr direct_io direct = direct_io::on;
};
struct cached {
    static constexpr file_io io = file_io::automatic;
    static constexpr direct_io direct = direct_io::off;
};

object_key key(std::uint64_t n)
{
    return object_key{"model", chunk_hash::from_number(n)};
}

std::vector<object_key> keys(std::initializer_list<std::uint64_t> numbers)
{
    std::vector<object_key> made;
    for (std::uint64_t n : numbers)
        made.push_back(key(n));
    return made;
}

bitmap bits(std::initializer_list<bool> values)
{
    bitmap made{values.size()};
    std::size_t i = 0;
    for (bool value : values)
        made.set(i++, value);
    return made;
}

/// Bytes that differ from object to object and from place to place.
page_aligned content(std::uint64_t seed, std::size_t bytes)
{
    page_aligned made(bytes);
    std::uint64_t x = seed * 0x9e3779b97f4a7c15U + 1;
    for (std::byte& b : made) {
        x = x * 6364136223846793005U + 1442695040888963407U;
        b = static_cast<std::byte>(x >> 56);
    }
    return made;
}

/// One executor for all calls of a test.
struct world {
    asio::io_context context;

    template <class T>
    T run(asio::awaitable<T> operation)
    {
        std::optional<T> answer;
        std::exception_ptr failed;
        asio::co_spawn(context, std::move(operation), [&](std::exception_ptr e, T value) {
            failed = e;
            answer.emplace(std::move(value));
        });
        context.restart();
        context.run();
        REQUIRE(answer.has_value()); // run() waits for what the threads do
        if (failed)
            std::rethrow_exception(failed);
        return std::move(*answer);
    }
    void run(asio::awaitable<void> operation)
    {
        std::optional<std::exception_ptr> ended;
        asio::co_spawn(context, std::move(operation), [&](std::exception_ptr e) { ended = e; });
        context.restart();
        context.run();
        REQUIRE(ended.has_value());
        if (*ended)
            std::rethrow_exception(*ended);
    }
};

/// A directory and, one after the other, adapters in it. Object n has content(n).
template <class How>
struct store_world : world {
    explicit store_world(std::uint64_t capacity_bytes = 0, std::uint32_t threads = 2)
    {
        options.capacity_bytes = capacity_bytes;
        options.threads = threads;
        options.io = How::io;
        options.direct = How::direct;
        open();
    }

    void open()
    {
        adapter.reset();
        adapter = std::make_unique<file_adapter>(options);
    }

    bitmap put(std::vector<object_key> which, std::size_t bytes = payload_bytes)
    {
        std::vector<page_aligned> payloads;
        std::vector<terrace::store_item> items;
        for (const object_key& k : which) {
            payloads.push_back(content(k.hash_code(), bytes));
            items.emplace_back(k, memory_layout::bytes(bytes), payloads.back());
        }
        return run(adapter->store(items));
    }

    /// Which keys load, with the bytes that put() stored.
    bitmap get(std::vector<object_key> which, std::size_t bytes = payload_bytes)
    {
        return get(std::move(which), memory_layout::bytes(bytes));
    }
    bitmap get(std::vector<object_key> which, const memory_layout& layout)
    {
        std::vector<page_aligned> buffers(which.size());
        std::vector<terrace::load_item> items;
        for (std::size_t i = 0; i < which.size(); ++i) {
            buffers[i].resize(layout.size_bytes());
            items.emplace_back(which[i], layout, buffers[i]);
        }
        const bitmap loaded = run(adapter->load(items));
        loaded.for_each_set(
            [&](std::size_t i) { CHECK(buffers[i] == content(which[i].hash_code(), layout.size_bytes())); });
        return loaded;
    }
    bitmap lookup(std::vector<object_key> which) { return run(adapter->lookup_and_lock(which)); }
    void unlock(std::vector<object_key> which) { run(adapter->unlock(which)); }
    bitmap erase(std::vector<object_key> which) { return run(adapter->erase(which)); }

    /// The objects' files, in no order.
    [[nodiscard]] std::vector<fs::path> files() const
    {
        std::vector<fs::path> found;
        for (const auto& entry : fs::recursive_directory_iterator{directory.path()})
            if (entry.is_regular_file())
                found.push_back(entry.path());
        return found;
    }
    [[nodiscard]] fs::path file_of(const object_key& k) const
    {
        for (const fs::path& path : files())
            if (path.filename() == k.to_string() + ".kv")
                return path;
        FAIL("no file of ", k.to_string());
        return {};
    }

    temporary_directory directory;
    file_options options{directory.path()};
    std::unique_ptr<file_adapter> adapter;
};

std::vector<unsigned char> bytes_of(const fs::path& path)
{
    std::ifstream in{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
}

void flip_bit(const fs::path& path, std::size_t offset)
{
    std::fstream file{path, std::ios::binary | std::ios::in | std::ios::out};
    file.seekg(static_cast<std::streamoff>(offset));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 1));
    REQUIRE(file.good());
}

void write_file(const fs::path& path, const std::string& text)
{
    fs::create_directories(path.parent_path());
    std::ofstream{path, std::ios::binary} << text;
}

/// A small file system of its own, if this process may mount one.
class small_disk {
public:
    small_disk(const fs::path& at, const char* options, const char* type = "tmpfs") : at_{at}
    {
        mounted_ = ::mount(type, at_.c_str(), type, 0, options) == 0;
    }
    small_disk(const small_disk&) = delete;
    small_disk& operator=(const small_disk&) = delete;
    ~small_disk()
    {
        if (mounted_)
            ::umount2(at_.c_str(), MNT_DETACH);
    }
    [[nodiscard]] bool mounted() const noexcept { return mounted_; }

private:
    fs::path at_;
    bool mounted_;
};

/// No file of this process grows past a size.
class file_size_limit {
public:
    explicit file_size_limit(rlim_t bytes) : signal_{std::signal(SIGXFSZ, SIG_IGN)}
    {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        rlimit now = before_;
        now.rlim_cur = bytes;
        ::setrlimit(RLIMIT_FSIZE, &now);
    }
    file_size_limit(const file_size_limit&) = delete;
    file_size_limit& operator=(const file_size_limit&) = delete;
    ~file_size_limit()
    {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, signal_);
    }

private:
    rlimit before_{};
    void (*signal_)(int);
};

} // namespace

TEST_CASE_TEMPLATE("file adapter: what was stored is found, locked and loaded", How, on_ring, on_threads, cached)
{
    store_world<How> w;
    CHECK(w.lookup(keys({1, 2})) == bits({false, false}));
    CHECK(w.put(keys({1, 2})) == bits({true, true}));
    CHECK(w.lookup(keys({1, 3, 2})) == bits({true, false, true}));
    CHECK(w.adapter->status().locked_objects == 2);
    CHECK(w.get(keys({2, 3, 1})) == bits({true, false, true}));
    w.unlock(keys({1, 2, 3}));

    const terrace::adapter_status status = w.adapter->status();
    CHECK(status.name == "file:" + w.directory.path().string());
    CHECK(status.health == adapter_health::healthy);
    CHECK(status.problem.empty());
    CHECK(status.objects == 2);
    CHECK(status.used_bytes == 2 * file_bytes);
    CHECK(status.locked_objects == 0);
    CHECK(status.in_flight == 0);
    CHECK(status.corrupt_objects == 0);
    CHECK(w.files().size() == 2); // and no temporary one
}

TEST_CASE_TEMPLATE("file adapter: a thousand objects go and come in one call, and lie in many folders", How, on_ring,
                   on_threads, cached)
{
    store_world<How> w{0, 4};
    std::vector<object_key> many;
    for (std::uint64_t n = 0; n < 1000; ++n)
        many.push_back(key(n));
    CHECK(w.put(many).all());
    CHECK(w.get(many).all());
    CHECK(w.adapter->status().objects == 1000);
    std::set<fs::path> folders;
    for (const fs::path& path : w.files())
        folders.insert(path.parent_path());
    CHECK(folders.size() > 200);
}

TEST_CASE_TEMPLATE("file adapter: objects of all sizes come back, also those that are not whole pages", How, on_ring,
                   on_threads, cached)
{
    store_world<How> w;
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{4095}, std::size_t{4096}, std::size_t{5 << 20} + 1}) {
        CHECK(w.put(keys({bytes}), bytes).all());
        CHECK(w.get(keys({bytes}), bytes).all());
    }
}

TEST_CASE_TEMPLATE("file adapter: the file is as docs/formats/file.md says", How, on_ring, on_threads, cached)
{
    store_world<How> w;
    const object_key k{"m/x", chunk_hash::from_number(0x0102), 3, 4, "salt"};
    w.put({k});
    REQUIRE(w.files().size() == 1);
    const fs::path path = w.files().front();
    CHECK(path.lexically_relative(w.directory.path()) == "9a/m%2fx@00000003@0004@0000000000000102@salt.kv");

    const std::vector<unsigned char> file = bytes_of(path);
    REQUIRE(file.size() == file_bytes);
    const auto number_at = [&](std::size_t offset, std::size_t bytes) {
        std::uint64_t n = 0;
        for (std::size_t i = bytes; i-- != 0;)
            n = n << 8 | file[offset + i];
        return n;
    };
    CHECK(std::string(file.begin(), file.begin() + 8) == "TERRFILE");
    CHECK(number_at(8, 4) == 1);
    CHECK(number_at(12, 4) == 4096);
    CHECK(number_at(16, 8) == memory_layout::bytes(payload_bytes).fingerprint());
    CHECK(number_at(24, 8) == payload_bytes);
    const std::string text = k.to_string();
    CHECK(number_at(40, 8) == text.size());
    CHECK(std::string(file.begin() + 48, file.begin() + 48 + static_cast<std::ptrdiff_t>(text.size())) == text);
    CHECK(std::all_of(file.begin() + 48 + static_cast<std::ptrdiff_t>(text.size()), file.begin() + 4088,
                      [](unsigned char c) { return c == 0; }));
    const page_aligned payload = content(k.hash_code(), payload_bytes);
    CHECK(std::equal(payload.begin(), payload.end(), file.begin() + 4096,
                     [](std::byte a, unsigned char b) { return std::to_integer<unsigned char>(a) == b; }));
}

TEST_CASE_TEMPLATE("file adapter: a new one in the directory knows what the last one stored", How, on_ring, on_threads,
                   cached)
{
    store_world<How> w;
    w.put(keys({1, 2, 3}));
    w.erase(keys({2}));
    w.run(w.adapter->close());
    w.open();
    CHECK(w.adapter->status().objects == 2);
    CHECK(w.adapter->status().used_bytes == 2 * file_bytes);
    CHECK(w.lookup(keys({1, 2, 3})) == bits({true, false, true}));
    CHECK(w.get(keys({1, 2, 3})) == bits({true, false, true}));
    CHECK(w.adapter->status().corrupt_objects == 0);

    SUBCASE("with what was written first in front of the eviction")
    {
        std::uint64_t older = 3;
        SUBCASE("whichever it was") {}
        SUBCASE("or the other one")
        {
            older = 1;
        }
        const std::uint64_t newer = 4 - older;
        const auto now = fs::file_time_type::clock::now();
        fs::last_write_time(w.file_of(key(older)), now - std::chrono::hours{2});
        fs::last_write_time(w.file_of(key(newer)), now - std::chrono::hours{1});
        w.options.capacity_bytes = 2 * file_bytes;
        w.open();
        CHECK(w.put(keys({4})).all());
        CHECK(w.lookup(keys({older, newer, 4})) == bits({false, true, true}));
    }
    SUBCASE("and trims it to a smaller capacity")
    {
        w.options.capacity_bytes = file_bytes;
        w.open();
        CHECK(w.adapter->status().objects == 1);
        CHECK(w.adapter->status().evicted_objects == 1);
        CHECK(w.files().size() == 1);
    }
}

TEST_CASE_TEMPLATE("file adapter: a key too long for a file name is stored under a hash of it", How, on_ring,
                   on_threads, cached)
{
    store_world<How> w;
    const object_key longest{std::string(255, '/'), chunk_hash::from_number(1), 0, 0, std::string(128, '%')};
    CHECK(w.put({longest, key(1)}).all());
    for (const fs::path& path : w.files())
        CHECK(path.filename().string().size() <= 255);
    CHECK(w.get({longest}).all());

    w.open();
    CHECK(w.adapter->status().objects == 2);
    const terrace::key_page page = w.run(w.adapter->list({}));
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
        CHECK(w.adapter->status().objects == 1);
        CHECK(w.adapter->status().corrupt_objects == 1);
        CHECK(w.files().size() == 1);
    }
}

TEST_CASE_TEMPLATE("file adapter: a damaged object is a miss, is counted and removed", How, on_ring, on_threads, cached)
{
    store_world<How> w;
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
    CHECK(w.adapter->status().corrupt_objects == 1);
    CHECK(w.adapter->status().objects == 1);
    CHECK(w.adapter->status().used_bytes == file_bytes);
    CHECK(!fs::exists(path));
    CHECK(w.lookup(keys({1})).none());
    CHECK(w.put(keys({1})).all());
    CHECK(w.get(keys({1})).all());
    CHECK(w.adapter->status().corrupt_objects == 1);
}

TEST_CASE_TEMPLATE("file adapter: an object of another layout is a miss, is counted and removed", How, on_ring,
                   on_threads, cached)
{
    store_world<How> w;
    w.put(keys({1}));
    SUBCASE("of the same size")
    {
        const memory_layout other{{terrace::tensor{{64, 64}, terrace::dtype::i8}}};
        REQUIRE(other.size_bytes() == payload_bytes);
        CHECK(w.get(keys({1}), other).none());
    }
    SUBCASE("of another size")
    {
        CHECK(w.get(keys({1}), 999).none());
    }
    CHECK(w.adapter->status().corrupt_objects == 1);
    CHECK(w.adapter->status().objects == 0);
    CHECK(w.files().empty());
}

TEST_CASE_TEMPLATE("file adapter: objects that are damaged at start are removed then or at their load", How, on_ring,
                   on_threads, cached)
{
    store_world<How> w;
    w.put(keys({1, 2, 3}));
    fs::resize_file(w.file_of(key(1)), 100);
    fs::resize_file(w.file_of(key(2)), header_bytes + 1);
    w.open();
    CHECK(w.adapter->status().objects == 2);
    CHECK(w.adapter->status().corrupt_objects == 1);
    CHECK(w.get(keys({1, 2, 3})) == bits({false, false, true}));
    CHECK(w.adapter->status().objects == 1);
    CHECK(w.adapter->status().corrupt_objects == 2);
    CHECK(w.files().size() == 1);
}

TEST_CASE_TEMPLATE("file adapter: other people's files are neither counted nor touched", How, on_ring, on_threads,
                   cached)
{
    store_world<How> w;
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
        write_file(path, "theirs");
    fs::create_directory(folder / "model@00000000@0000@0000000000000099.kv");
    w.open();
    CHECK(w.adapter->status().objects == 1);
    CHECK(w.adapter->status().corrupt_objects == 0);
    w.erase(keys({1}));
    for (const fs::path& path : theirs)
        CHECK_MESSAGE(bytes_of(path).size() == 6, path.string());
}

TEST_CASE_TEMPLATE("file adapter: a directory or a FIFO in an object's place is no object, and stays", How, on_ring,
                   on_threads, cached)
{
    store_world<How> w;
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
    CHECK(w.adapter->status().objects == 0);
    CHECK(w.adapter->status().corrupt_objects == 0);
    CHECK(fs::exists(path));
    w.open();
    CHECK(w.adapter->status().objects == 0);
    CHECK(fs::exists(path));
}

TEST_CASE_TEMPLATE("file adapter: temporary files of dead processes are removed at start, those of live ones are not",
                   How, on_ring, on_threads, cached)
{
    store_world<How> w;
    const fs::path dead = w.directory.path() / "00" / ".terrace-0123456789abcdef-7.tmp";
    const fs::path live = w.directory.path() / "ff" / ".terrace-0123456789abcdef-8.tmp";
    write_file(dead, "half");
    write_file(live, "half");
    const int file = ::open(live.c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(::flock(file, LOCK_EX) == 0);
    w.open();
    CHECK(!fs::exists(dead));
    CHECK(fs::exists(live));
    CHECK(w.adapter->status().objects == 0);
    CHECK(w.adapter->status().corrupt_objects == 0);
    ::close(file); // as the kernel does for a process that is killed
    w.open();
    CHECK(!fs::exists(live));
}

TEST_CASE_TEMPLATE("file adapter: full, it evicts what was used least recently", How, on_ring, on_threads, cached)
{
    store_world<How> w{3 * file_bytes};
    CHECK(w.adapter->status().capacity_bytes == 3 * file_bytes);
    for (std::uint64_t n : {1U, 2U, 3U})
        CHECK(w.put(keys({n})).all());

    SUBCASE("by the order of storing")
    {
        w.put(keys({4}));
        CHECK(w.lookup(keys({1, 2, 3, 4})) == bits({false, true, true, true}));
    }
    SUBCASE("by loads since")
    {
        w.get(keys({1}));
        w.put(keys({4}));
        CHECK(w.lookup(keys({1, 2, 3, 4})) == bits({true, false, true, true}));
    }
    SUBCASE("by lookups since")
    {
        w.lookup(keys({1}));
        w.unlock(keys({1}));
        w.put(keys({4}));
        CHECK(w.lookup(keys({1, 2, 3, 4})) == bits({true, false, true, true}));
    }
    SUBCASE("never what is locked")
    {
        CHECK(w.lookup(keys({1})).all());
        w.put(keys({4}));
        CHECK(w.lookup(keys({1, 2, 3, 4})) == bits({true, false, true, true}));
    }
    CHECK(w.adapter->status().evicted_objects == 1);
    CHECK(w.adapter->status().objects == 3);
    CHECK(w.adapter->status().used_bytes == 3 * file_bytes);
    CHECK(w.files().size() == 3);
}

TEST_CASE_TEMPLATE("file adapter: of a batch that is a prefix, the tail is evicted before the head", How, on_ring,
                   on_threads, cached)
{
    store_world<How> w{3 * file_bytes};
    w.put(keys({1, 2, 3}));
    SUBCASE("as it was stored") {}
    SUBCASE("as it was loaded")
    {
        w.get(keys({1, 2, 3}));
    }
    SUBCASE("as it was unlocked")
    {
        w.lookup(keys({1, 2, 3}));
        w.unlock(keys({1, 2, 3}));
    }
    w.put(keys({4}));
    CHECK(w.lookup(keys({1, 2, 3})) == bits({true, true, false}));
}

TEST_CASE_TEMPLATE("file adapter: full, its policy decides", How, on_ring, on_threads, cached)
{
    store_world<How> w{3 * file_bytes, 1};
    SUBCASE("s3fifo: wanted twice, an object stays while others pass")
    {
        w.options.eviction = "s3fifo";
        w.open();
        w.put(keys({1}));
        w.get(keys({1}));
        w.get(keys({1}));
        for (std::uint64_t n = 2; n < 10; ++n)
            w.put(keys({n}));
        CHECK(w.lookup(keys({1, 2, 9})) == bits({true, false, true}));
    }
    SUBCASE("s3fifo: storing and looking up are no use")
    {
        w.options.eviction = "s3fifo";
        w.open();
        w.put(keys({1}));
        for (int i = 0; i < 3; ++i) {
            w.lookup(keys({1}));
            w.unlock(keys({1}));
        }
        w.get(keys({1})); // once, which is not enough
        w.put(keys({2}));
        w.put(keys({3}));
        w.put(keys({4}));
        CHECK(w.lookup(keys({1, 2, 3, 4})) == bits({false, true, true, true}));
    }
    SUBCASE("none: what was first stays, and the store fails")
    {
        w.options.eviction = "none";
        w.open();
        for (std::uint64_t n : {1U, 2U, 3U})
            CHECK(w.put(keys({n})).all());
        CHECK(w.put(keys({4})).none());
        CHECK(w.adapter->status().evicted_objects == 0);
        CHECK(w.adapter->status().failed_stores == 1);
    }
    SUBCASE("isolated_lru: what a tenant has over its quota goes at the next store, with its files")
    {
        const auto quotas = std::make_shared<terrace::quota_table>();
        const auto of_x = [](std::uint64_t n) { return object_key{"model", chunk_hash::from_number(n), 0, 0, "x"}; };
        w.options.eviction = "isolated_lru";
        w.options.quotas = quotas;
        w.open();
        w.put({of_x(1), of_x(2)});
        quotas->set("x", file_bytes);
        CHECK(w.files().size() == 2);
        w.put(keys({3}));
        CHECK(w.lookup({of_x(1), of_x(2), key(3)}) == bits({true, false, true}));
        CHECK(w.files().size() == 2);
        CHECK(w.adapter->status().evicted_objects == 1);
        CHECK(w.put(keys({4}), 4 * file_bytes).none()); // never has room
    }
}

TEST_CASE_TEMPLATE(
    "file adapter: what a store has evicted before it turned out to have no room is removed from the disk", How,
    on_ring, on_threads, cached)
{
    const auto quotas = std::make_shared<terrace::quota_table>();
    store_world<How> w{3 * file_bytes};
    w.options.eviction = "isolated_lru";
    w.options.quotas = quotas;
    w.open();
    w.put({object_key{"model", chunk_hash::from_number(1), 0, 0, "x"}});
    quotas->set("x", 0);
    CHECK(w.put(keys({2}), 3 * file_bytes).none()); // larger than the capacity
    CHECK(w.files().empty());
    CHECK(w.adapter->status().objects == 0);
}

TEST_CASE_TEMPLATE("file adapter: a store without room is refused, and evicts nothing in vain", How, on_ring,
                   on_threads, cached)
{
    store_world<How> w{2 * file_bytes};
    w.put(keys({1, 2}));
    w.lookup(keys({1}));

    SUBCASE("when it is larger than the capacity")
    {
        CHECK(w.put(keys({3}), 2 * file_bytes).none());
    }
    SUBCASE("when locked objects leave too little")
    {
        w.lookup(keys({2}));
        CHECK(w.put(keys({3})).none());
        w.unlock(keys({2}));
    }
    const terrace::adapter_status status = w.adapter->status();
    CHECK(status.failed_stores == 1);
    CHECK(status.problem.find("no room") != std::string::npos);
    CHECK(status.health == adapter_health::healthy); // nothing is wrong with the disk
    CHECK(status.objects == 2);
    CHECK(status.evicted_objects == 0);
    CHECK(status.used_bytes == 2 * file_bytes);

    w.unlock(keys({1}));
    CHECK(w.put(keys({3})).all());
}

TEST_CASE_TEMPLATE("file adapter: a store that the disk refuses leaves nothing behind, and shows in the health", How,
                   on_ring, on_threads, cached)
{
    store_world<How> w;
    CHECK(w.put(keys({1})).all());
    {
        const file_size_limit limit{16 * 1024}; // the first write is short, the second fails
        CHECK(w.put(keys({1, 2}), 64 * 1024).none());
    }
    terrace::adapter_status status = w.adapter->status();
    CHECK(status.health == adapter_health::degraded);
    CHECK(status.problem.find("File too large") != std::string::npos);
    CHECK(status.failed_stores == 2);
    CHECK(status.objects == 1);
    CHECK(status.used_bytes == file_bytes);
    CHECK(w.files().size() == 1);
    CHECK(w.get(keys({1, 2})) == bits({true, false})); // the old object, whole

    CHECK(w.put(keys({2})).all());
    status = w.adapter->status();
    CHECK(status.health == adapter_health::healthy);
    CHECK(status.failed_stores == 2);
}

TEST_CASE_TEMPLATE("file adapter: on a full disk a store fails, and works again when there is room", How, on_ring,
                   on_threads, cached)
{
    const temporary_directory at;
    const small_disk disk{at.path(), "size=256k"};
    if (!disk.mounted()) {
        MESSAGE("skipped: this process may not mount a tmpfs");
        return;
    }
    store_world<How> w;
    w.options.directory = at.path() / "cache";
    w.open();
    CHECK(w.put(keys({1}), 150'000).all());
    CHECK(w.put(keys({2}), 150'000).none());
    CHECK(w.adapter->status().health == adapter_health::degraded);
    CHECK(w.adapter->status().problem.find("No space left on device") != std::string::npos);
    CHECK(w.adapter->status().failed_stores == 1);
    CHECK(w.adapter->status().objects == 1);
    CHECK(w.get(keys({1}), 150'000).all());

    CHECK(w.erase(keys({1})).all());
    CHECK(w.put(keys({2}), 150'000).all());
    CHECK(w.adapter->status().health == adapter_health::healthy);
}

TEST_CASE("file adapter: what cannot be moved directly goes through the page cache")
{
    const temporary_directory at;
    store_world<on_ring> w;
    SUBCASE("as the memory lies, or the size is")
    {
        page_aligned bytes = content(1, payload_bytes + 8);
        for (const std::size_t offset : {0U, 8U}) {
            const auto piece = std::span{bytes}.subspan(offset, payload_bytes + 8 - offset);
            const std::vector<terrace::store_item> stores{{key(1), memory_layout::bytes(piece.size()), piece}};
            CHECK(w.run(w.adapter->store(stores)).all());
            page_aligned read(bytes.size());
            const auto target = std::span{read}.subspan(offset, piece.size());
            const std::vector<terrace::load_item> loads{{key(1), memory_layout::bytes(piece.size()), target}};
            CHECK(w.run(w.adapter->load(loads)).all());
            CHECK(std::ranges::equal(target, piece));
        }
    }
    SUBCASE("as the file system wants it")
    {
        const small_disk disk{at.path(), "", "ramfs"};
        if (!disk.mounted()) {
            MESSAGE("skipped: this process may not mount a ramfs");
            return;
        }
        w.options.directory = at.path() / "cache";
        w.open();
        CHECK(w.put(keys({1, 2, 3})).all());
        CHECK(w.get(keys({1, 2, 3})).all());
        w.adapter.reset();
    }
}

TEST_CASE_TEMPLATE("file adapter: flushed before the answer, if that is asked for", How, on_ring, on_threads, cached)
{
    store_world<How> w;
    w.options.sync = file_sync::data;
    w.open();
    CHECK(w.put(keys({1, 2, 3, 4, 5})).all());
    CHECK(w.get(keys({1, 2, 3, 4, 5})).all());
    CHECK(w.files().size() == 5);
}

TEST_CASE_TEMPLATE("file adapter: a batch larger than the capacity is stored all the same, each item in its turn", How,
                   on_ring, on_threads, cached)
{
    store_world<How> w{5 * file_bytes, 4};
    std::vector<object_key> many;
    for (std::uint64_t n = 0; n < 50; ++n)
        many.push_back(key(n));
    CHECK(w.put(many).all());
    CHECK(w.adapter->status().objects == 5);
    CHECK(w.adapter->status().evicted_objects == 45);
    CHECK(w.adapter->status().failed_stores == 0);
    CHECK(w.files().size() == 5);
}

TEST_CASE("file adapter: a directory that cannot be made or written to is refused, by name")
{
    const temporary_directory at;
    write_file(at.path() / "file", "text");
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
    const auto make = [](const std::string& text) {
        return terrace::make_file_adapter(terrace::adapter_spec::parse(text));
    };
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

TEST_CASE_TEMPLATE("file adapter: wrong arguments are refused before anything changes", How, on_ring, on_threads,
                   cached)
{
    store_world<How> w;
    std::array<std::byte, 10> bytes{};
    const std::vector<terrace::load_item> loads{{key(1), memory_layout::bytes(11), bytes}};
    const std::vector<terrace::store_item> stores{{key(1), memory_layout::bytes(11), bytes}};
    const std::vector<terrace::store_item> empty{{object_key{}, memory_layout::bytes(10), bytes}};
    CHECK_THROWS_AS(w.run(w.adapter->load(loads)), std::invalid_argument);
    CHECK_THROWS_AS(w.run(w.adapter->store(stores)), std::invalid_argument);
    CHECK_THROWS_AS(w.run(w.adapter->store(empty)), std::invalid_argument);
    CHECK_THROWS_AS(w.lookup({object_key{}}), std::invalid_argument);
    CHECK_THROWS_AS(w.run(w.adapter->list(list_cursor{"", 0})), std::invalid_argument);
    CHECK(w.adapter->status().in_flight == 0);
    CHECK(w.files().empty());
}

TEST_CASE_TEMPLATE("file adapter: empty batches are answered", How, on_ring, on_threads, cached)
{
    store_world<How> w;
    CHECK(w.put({}).size() == 0);
    CHECK(w.get({}).size() == 0);
    CHECK(w.lookup({}).size() == 0);
    CHECK(w.erase({}).size() == 0);
}

TEST_CASE_TEMPLATE("file adapter: storing a key again replaces its object", How, on_ring, on_threads, cached)
{
    store_world<How> w{3 * (header_bytes + 2000)};
    w.put(keys({1}), 1000);
    CHECK(w.put(keys({1}), 2000).all());
    CHECK(w.adapter->status().objects == 1);
    CHECK(w.adapter->status().used_bytes == header_bytes + 2000);
    CHECK(w.files().size() == 1);
    CHECK(w.get(keys({1}), 2000).all());

    SUBCASE("also while it is locked")
    {
        w.lookup(keys({1}));
        CHECK(w.put(keys({1}), 1500).all());
        CHECK(w.adapter->status().locked_objects == 1);
        CHECK(w.get(keys({1}), 1500).all());
    }
    SUBCASE("also twice at once")
    {
        const page_aligned bytes = content(key(1).hash_code(), 1000);
        const terrace::store_item item{key(1), memory_layout::bytes(1000), bytes};
        const std::vector<terrace::store_item> items{item};
        int stored = 0;
        for (int i = 0; i < 2; ++i)
            asio::co_spawn(w.context, w.adapter->store(items),
                           [&](std::exception_ptr, const bitmap& b) { stored += b.all() ? 1 : 0; });
        w.context.restart();
        w.context.run();
        CHECK(stored == 2);
        CHECK(w.adapter->status().objects == 1);
        CHECK(w.adapter->status().used_bytes == header_bytes + 1000);
        CHECK(w.files().size() == 1);
    }
}

TEST_CASE_TEMPLATE("file adapter: erase removes what is there and not locked", How, on_ring, on_threads, cached)
{
    store_world<How> w;
    w.put(keys({1, 2}));
    w.lookup(keys({2}));
    CHECK(w.erase(keys({1, 2, 3})) == bits({true, false, false}));
    CHECK(w.adapter->status().objects == 1);
    CHECK(w.files().size() == 1);
    CHECK(w.get(keys({1, 2})) == bits({false, true}));
    w.unlock(keys({2}));
    CHECK(w.erase(keys({2})).all());
    CHECK(w.files().empty());
}

TEST_CASE_TEMPLATE("file adapter: listing shows every key once, in pages", How, on_ring, on_threads, cached)
{
    store_world<How> w;
    std::vector<object_key> many;
    for (std::uint64_t n = 0; n < 25; ++n)
        many.push_back(key(n));
    w.put(many);
    std::vector<object_key> seen;
    std::optional<list_cursor> next{list_cursor{"", 10}};
    std::size_t pages = 0;
    for (; next; ++pages) {
        const terrace::key_page page = w.run(w.adapter->list(*next));
        CHECK(page.keys.size() <= 10);
        seen.insert(seen.end(), page.keys.begin(), page.keys.end());
        next = page.next;
    }
    CHECK(pages == 3);
    CHECK(seen.size() == 25);
    CHECK(std::ranges::is_permutation(seen, many));
}

TEST_CASE_TEMPLATE("file adapter: what a process stores, another one in the same directory finds", How, on_ring,
                   on_threads, cached)
{
    store_world<How> w;
    w.put(keys({1}));
    file_adapter other{w.options};
    const auto find = [&](std::vector<object_key> which) { return w.run(other.lookup_and_lock(which)); };
    const auto load = [&](std::uint64_t n) {
        page_aligned buffer(payload_bytes);
        const std::vector<terrace::load_item> items{{key(n), memory_layout::bytes(buffer.size()), buffer}};
        return w.run(other.load(items)).all() && buffer == content(key(n).hash_code(), buffer.size());
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
        CHECK(w.adapter->status().objects == 2);
    }
    SUBCASE("a load without a lookup finds it as well")
    {
        w.put(keys({5}));
        CHECK(load(5));
    }
}

TEST_CASE_TEMPLATE("file adapter: a file that is gone since the lookup is a miss", How, on_ring, on_threads, cached)
{
    store_world<How> w;
    w.put(keys({1, 2}));
    CHECK(w.lookup(keys({1, 2})).all());
    fs::remove(w.file_of(key(1)));
    CHECK(w.get(keys({1, 2})) == bits({false, true}));
    CHECK(w.adapter->status().objects == 1);
    CHECK(w.adapter->status().corrupt_objects == 0);
    w.unlock(keys({1, 2}));
    CHECK(w.adapter->status().locked_objects == 0);
}

TEST_CASE_TEMPLATE("file adapter: cancelled at any point, a call ends and holds nothing", How, on_ring, on_threads,
                   cached)
{
    store_world<How> w{0, 1};
    std::vector<object_key> known;
    for (std::uint64_t n = 0; n < 20; ++n)
        known.push_back(key(n));
    w.put(known, 256 * 1024);

    std::vector<page_aligned> buffers(known.size(), page_aligned(256 * 1024));
    std::vector<terrace::load_item> loads;
    std::vector<terrace::store_item> stores;
    for (std::size_t i = 0; i < known.size(); ++i) {
        loads.emplace_back(known[i], memory_layout::bytes(buffers[i].size()), buffers[i]);
        stores.emplace_back(key(100 + i), memory_layout::bytes(buffers[i].size()), buffers[i]);
    }
    std::vector<object_key> unknown;
    for (std::uint64_t n = 1000; n < 2000; ++n)
        unknown.push_back(key(n));
    unknown.push_back(key(0));

    enum class call { load, store, lookup, erase };
    call which = call::load;
    SUBCASE("load")
    {
        which = call::load;
    }
    SUBCASE("store")
    {
        which = call::store;
    }
    SUBCASE("lookup")
    {
        which = call::lookup;
    }
    SUBCASE("erase")
    {
        which = call::erase;
    }
    const auto start = [&]() -> asio::awaitable<bitmap> {
        switch (which) {
        case call::load:
            return w.adapter->load(loads);
        case call::store:
            return w.adapter->store(stores);
        case call::lookup:
            return w.adapter->lookup_and_lock(unknown);
        case call::erase:
            break;
        }
        return w.adapter->erase(known);
    };

    for (int handlers = 0; handlers < 4; ++handlers) {
        asio::cancellation_signal cancel;
        std::optional<std::exception_ptr> ended;
        bitmap answer;
        const auto end = [&](std::exception_ptr e, bitmap b) {
            ended = e;
            answer = std::move(b);
        };
        asio::co_spawn(w.context, start(), asio::bind_cancellation_slot(cancel.slot(), end));
        w.context.restart();
        for (int i = 0; i < handlers && !ended; ++i)
            w.context.run_one();
        const bool over = ended.has_value();
        if (!over)
            cancel.emit(asio::cancellation_type::terminal);
        w.context.run();
        REQUIRE(ended.has_value());
        CHECK(w.adapter->status().in_flight == 0);
        if (handlers == 0 && which == call::lookup)
            CHECK(*ended); // the others return what was done
        if (*ended)
            CHECK_THROWS_WITH(std::rethrow_exception(*ended), doctest::Contains("Operation canceled"));
        else if (which == call::lookup)
            w.run(w.adapter->unlock(unknown)); // it was quicker
        CHECK(w.adapter->status().locked_objects == 0);
        if (which == call::load)
            answer.for_each_set(
                [&](std::size_t i) { CHECK(buffers[i] == content(known[i].hash_code(), buffers[i].size())); });
        if (which == call::store)
            CHECK(w.files().size() == w.adapter->status().objects); // no temporary file
    }
}

TEST_CASE_TEMPLATE("file adapter: loads beside stores of the same key see one object or the other, whole", How, on_ring,
                   on_threads, cached)
{
    store_world<How> w{0, 4};
    constexpr std::size_t size = 512 * 1024;
    const memory_layout layout = memory_layout::bytes(size);
    const std::array<page_aligned, 2> versions{content(1, size), content(2, size)};
    std::array<page_aligned, 3> buffers;
    int loaded = 0;

    const auto keep_storing = [&](std::size_t version) -> asio::awaitable<void> {
        const std::vector<terrace::store_item> items{{key(1), layout, versions.at(version)}};
        for (int i = 0; i < 40; ++i) {
            const bitmap stored = co_await w.adapter->store(items);
            CHECK(stored.all());
        }
    };
    const auto keep_loading = [&](page_aligned& buffer) -> asio::awaitable<void> {
        buffer.resize(size);
        const std::vector<terrace::load_item> items{{key(1), layout, buffer}};
        for (int i = 0; i < 80; ++i) {
            const bitmap found = co_await w.adapter->load(items);
            CHECK(found.all());
            CHECK((buffer == versions[0] || buffer == versions[1]));
            ++loaded;
        }
    };
    const auto rethrow = [](std::exception_ptr e) {
        if (e)
            std::rethrow_exception(e);
    };
    const std::vector<terrace::store_item> first{{key(1), layout, versions[0]}};
    REQUIRE(w.run(w.adapter->store(first)).all());
    w.context.restart();
    asio::co_spawn(w.context, keep_storing(0), rethrow);
    asio::co_spawn(w.context, keep_storing(1), rethrow);
    for (page_aligned& buffer : buffers)
        asio::co_spawn(w.context, keep_loading(buffer), rethrow);
    w.context.run();
    CHECK(loaded == 240);
    CHECK(w.adapter->status().corrupt_objects == 0);
    CHECK(w.adapter->status().objects == 1);
    CHECK(w.adapter->status().used_bytes == header_bytes + size);
    CHECK(w.files().size() == 1);
}

TEST_CASE_TEMPLATE("file adapter: stores, evictions and erasures at once leave index and disk in agreement", How,
                   on_ring, on_threads, cached)
{
    store_world<How> w{10 * file_bytes, 4};
    const auto churn = [&](std::uint64_t first) -> asio::awaitable<void> {
        std::vector<page_aligned> payloads;
        std::vector<terrace::store_item> items;
        std::vector<object_key> some;
        for (std::uint64_t n = first; n < first + 8; ++n) {
            const object_key k = key(n % 20);
            payloads.push_back(content(k.hash_code(), payload_bytes));
            items.emplace_back(k, memory_layout::bytes(payload_bytes), payloads.back());
            some.push_back(k);
        }
        for (int i = 0; i < 60; ++i) {
            co_await w.adapter->store(items);
            co_await w.adapter->lookup_and_lock(some);
            co_await w.adapter->unlock(some);
            if (i % 4 == 0)
                co_await w.adapter->erase(some);
        }
    };
    for (std::uint64_t first : {0U, 5U, 10U, 15U})
        asio::co_spawn(w.context, churn(first), [](std::exception_ptr e) {
            if (e)
                std::rethrow_exception(e);
        });
    w.context.run();
    const terrace::adapter_status status = w.adapter->status();
    CHECK(status.locked_objects == 0);
    CHECK(status.corrupt_objects == 0);
    CHECK(status.objects == w.files().size());
    CHECK(status.used_bytes == w.files().size() * file_bytes);
    CHECK(status.evicted_objects > 0);
    std::vector<object_key> all;
    for (std::uint64_t n = 0; n < 20; ++n)
        all.push_back(key(n));
    CHECK(w.get(all).count() == status.objects);
}

TEST_CASE_TEMPLATE("file adapter: closed, it holds no lock and refuses every call", How, on_ring, on_threads, cached)
{
    store_world<How> w;
    w.put(keys({1}));
    w.lookup(keys({1}));
    w.run(w.adapter->close());
    CHECK(w.adapter->status().locked_objects == 0);
    CHECK(w.adapter->status().in_flight == 0);
    CHECK_THROWS_WITH_AS(w.lookup(keys({1})), doctest::Contains("file adapter"), boost::system::system_error);
    CHECK_THROWS_AS(w.get(keys({1})), boost::system::system_error);
}

TEST_CASE_TEMPLATE("file adapter: destroyed without close(), it ends what is in flight first", How, on_ring, on_threads,
                   cached)
{
    store_world<How> w{0, 1};
    std::vector<object_key> many;
    for (std::uint64_t n = 0; n < 50; ++n)
        many.push_back(key(n));
    w.put(many, 64 * 1024);

    // Freed together right after the adapter: the sanitizers see a thread that still reads into them.
    auto buffers = std::make_unique<std::vector<page_aligned>>(many.size());
    std::vector<terrace::load_item> items;
    for (std::size_t i = 0; i < many.size(); ++i) {
        (*buffers)[i].resize(64 * 1024);
        items.emplace_back(many[i], memory_layout::bytes(64 * 1024), (*buffers)[i]);
    }
    bool ended = false;
    asio::co_spawn(w.context, w.adapter->load(items), [&](std::exception_ptr, const bitmap&) { ended = true; });
    w.context.restart();
    w.context.run_one();
    w.adapter.reset();
    buffers.reset();

    SUBCASE("and the call ends on its executor")
    {
        w.context.run();
        CHECK(ended);
    }
    SUBCASE("or never, when that goes too")
    {
        CHECK(!ended);
    }
}

TEST_CASE_TEMPLATE("file adapter: what is stored already is left as it is, where that is asked for", How, on_ring,
                   on_threads, cached)
{
    store_world<How> w;
    w.put({key(1)});
    const auto file = w.file_of(key(1));
    const auto written = fs::last_write_time(file) - std::chrono::hours{1};
    fs::last_write_time(file, written);
    const auto put_if_absent = [&](const object_key& k, std::size_t bytes) {
        const auto payload = content(k.hash_code(), bytes);
        const std::vector<terrace::store_item> items{
            {k, memory_layout::bytes(bytes), payload, terrace::store_mode::if_absent}};
        return w.run(w.adapter->store(items)).all();
    };
    SUBCASE("under the same layout")
    {
        CHECK(put_if_absent(key(1), payload_bytes));
        CHECK(fs::last_write_time(file) == written);
        CHECK(w.adapter->status().kept_objects == 1);
    }
    SUBCASE("found by another process's adapter, which then knows it")
    {
        file_adapter other{w.options};
        w.adapter = std::make_unique<file_adapter>(w.options);
        CHECK(put_if_absent(key(1), payload_bytes));
        CHECK(w.adapter->status().objects == 1);
        CHECK(w.lookup({key(1)}).all());
    }
    SUBCASE("not under another layout")
    {
        CHECK(put_if_absent(key(1), 500));
        CHECK(w.adapter->status().kept_objects == 0);
        CHECK(w.get({key(1)}, 500).all());
    }
    SUBCASE("not where it is cut short")
    {
        fs::resize_file(file, file_bytes - 1);
        CHECK(put_if_absent(key(1), payload_bytes));
        CHECK(w.adapter->status().kept_objects == 0);
        CHECK(w.get({key(1)}).all());
    }
    SUBCASE("not where nothing is")
    {
        CHECK(put_if_absent(key(2), payload_bytes));
        CHECK(w.adapter->status().kept_objects == 0);
        CHECK(w.get({key(1), key(2)}).all());
    }
}

TEST_CASE_TEMPLATE("file adapter: it names what it would evict, locked, with the layout it was stored under", How,
                   on_ring, on_threads, cached)
{
    store_world<How> w{3 * file_bytes};
    w.put({key(1)});
    w.put({key(2)});
    w.put({key(3)});
    const auto victims = [&](std::uint64_t objects) {
        return w.run(w.adapter->lock_victims(objects, objects * payload_bytes));
    };
    SUBCASE("as many as it takes")
    {
        const auto two = victims(2);
        REQUIRE(two.size() == 2);
        CHECK(two[0].key == key(1));
        CHECK(two[1].key == key(2));
        CHECK(two[0].layout == memory_layout::bytes(payload_bytes));
        CHECK(w.adapter->status().locked_objects == 2);
        CHECK(w.get({key(1)}, two[0].layout).all());
        w.unlock({key(1), key(2)});
        CHECK(w.erase({key(1), key(2)}).all());
        CHECK(victims(2).empty()); // there is room now
    }
    SUBCASE("not what is locked")
    {
        w.lookup({key(1)});
        const auto one = victims(1);
        REQUIRE(one.size() == 1);
        CHECK(one[0].key == key(2));
    }
    SUBCASE("not what is damaged")
    {
        fs::resize_file(w.file_of(key(1)), 100);
        const auto two = victims(2);
        REQUIRE(two.size() == 1);
        CHECK(two[0].key == key(2));
        CHECK(w.adapter->status().locked_objects == 1);
    }
    SUBCASE("none where there is no limit")
    {
        store_world<How> endless;
        endless.put({key(1)});
        CHECK(endless.run(endless.adapter->lock_victims(1, 1 << 30)).empty());
    }
}
