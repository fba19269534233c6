#include "support/temporary_directory.hpp"

#include <terrace/segment_adapter.hpp>

#include <algorithm>
#include <array>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/system_error.hpp>
#include <csignal>
#include <cstdlib>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace asio = boost::asio;
namespace fs = std::filesystem;
using terrace::adapter_health;
using terrace::bitmap;
using terrace::chunk_hash;
using terrace::list_cursor;
using terrace::memory_layout;
using terrace::object_key;
using terrace::segment_adapter;
using terrace::segment_options;
using terrace::segment_sync;
using terrace::test::temporary_directory;

namespace {

constexpr std::size_t block = 4096;

/// A small file system of its own, if this process may mount one.
class small_disk {
public:
    small_disk(const fs::path& at, const char* options) : at_{at}
    {
        mounted_ = ::mount("tmpfs", at_.c_str(), "tmpfs", 0, options) == 0;
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

/// The keys from first to last.
std::vector<object_key> keys_to(std::uint64_t first, std::uint64_t last)
{
    std::vector<object_key> made;
    for (std::uint64_t n = first; n <= last; ++n)
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
std::vector<std::byte> content(std::uint64_t seed, std::size_t bytes)
{
    std::vector<std::byte> made(bytes);
    std::uint64_t x = seed * 0x9e3779b97f4a7c15U + 1;
    for (std::byte& b : made) {
        x = x * 6364136223846793005U + 1442695040888963407U;
        b = static_cast<std::byte>(x >> 56);
    }
    return made;
}

/// A number that belongs to the key in every process: hash_code() depends on the order in which models came.
std::uint64_t seed_of(const object_key& k)
{
    std::uint64_t n = 0;
    for (const std::byte b : k.hash().bytes())
        n = n << 8 | std::to_integer<std::uint64_t>(b);
    return n + 1;
}

/// Memory that starts on a block, or one byte after.
class memory {
public:
    memory(std::size_t bytes, bool aligned) : room_(bytes + block + 1)
    {
        void* at = room_.data();
        std::size_t space = room_.size();
        std::align(block, bytes, at, space);
        bytes_ = {static_cast<std::byte*>(at) + (aligned ? 0 : 1), bytes};
    }
    [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

private:
    std::vector<std::byte> room_;
    std::span<std::byte> bytes_;
};

/// A directory, an executor and, one after the other, adapters. Object n has content(n + 1).
struct segment_world {
    explicit segment_world(std::uint64_t capacity_bytes = 0, std::uint64_t segment_bytes = 1 << 20)
    {
        options.capacity_bytes = capacity_bytes;
        options.segment_bytes = segment_bytes;
        options.threads = 2;
        open();
    }

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
        REQUIRE(answer.has_value());
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

    /// A start after whatever ended the one before: without close(), there is no snapshot.
    void open()
    {
        adapter.reset();
        adapter = std::make_unique<segment_adapter>(options);
    }
    enum class ending { closed, crashed };
    void reopen(ending how)
    {
        if (how == ending::closed) {
            run(adapter->close());
            CHECK(fs::exists(directory.path() / "snapshot"));
        }
        open();
        CHECK(!fs::exists(directory.path() / "snapshot"));
    }

    static constexpr std::size_t payload_bytes = 1000;
    static constexpr std::size_t record_bytes = 2 * block;

    bitmap put(std::vector<object_key> which, std::size_t bytes = payload_bytes, bool aligned = false,
               terrace::store_mode mode = terrace::store_mode::replace)
    {
        std::vector<memory> payloads;
        std::vector<terrace::store_item> items;
        for (const object_key& k : which) {
            payloads.emplace_back(bytes, aligned);
            std::ranges::copy(content(seed_of(k), bytes), payloads.back().bytes().begin());
            items.emplace_back(k, memory_layout::bytes(bytes), payloads.back().bytes(), mode);
        }
        return run(adapter->store(items));
    }
    /// Which keys load, with the bytes that put() stored.
    bitmap get(std::vector<object_key> which, const memory_layout& layout, bool aligned = false)
    {
        std::vector<memory> buffers;
        std::vector<terrace::load_item> items;
        for (const object_key& k : which) {
            buffers.emplace_back(layout.size_bytes(), aligned);
            items.emplace_back(k, layout, buffers.back().bytes());
        }
        const bitmap loaded = run(adapter->load(items));
        loaded.for_each_set([&](std::size_t i) {
            CHECK(std::ranges::equal(buffers[i].bytes(), content(seed_of(which[i]), layout.size_bytes())));
        });
        return loaded;
    }
    bitmap get(std::vector<object_key> which, std::size_t bytes = payload_bytes, bool aligned = false)
    {
        return get(std::move(which), memory_layout::bytes(bytes), aligned);
    }
    bitmap lookup(std::vector<object_key> which) { return run(adapter->lookup_and_lock(which)); }
    void unlock(std::vector<object_key> which) { run(adapter->unlock(which)); }
    bitmap erase(std::vector<object_key> which) { return run(adapter->erase(which)); }
    /// Which keys are there; nothing is locked or used.
    bitmap has(std::vector<object_key> which)
    {
        const bitmap found = lookup(which);
        unlock(which);
        return found;
    }
    [[nodiscard]] terrace::adapter_status status() const { return adapter->status(); }

    [[nodiscard]] fs::path segment(int number) const
    {
        return directory.path() / ("segment-00000" + std::to_string(number));
    }
    /// What `du` says.
    [[nodiscard]] std::uint64_t disk_bytes() const
    {
        std::uint64_t blocks = 0;
        struct stat s;
        REQUIRE(::stat(directory.path().c_str(), &s) == 0);
        blocks += static_cast<std::uint64_t>(s.st_blocks);
        for (const auto& entry : fs::directory_iterator{directory.path()}) {
            REQUIRE(::stat(entry.path().c_str(), &s) == 0);
            blocks += static_cast<std::uint64_t>(s.st_blocks);
        }
        return blocks * 512;
    }

    asio::io_context context;
    temporary_directory directory;
    segment_options options{directory.path()};
    std::unique_ptr<segment_adapter> adapter;
};

std::vector<char> bytes_of(const fs::path& path)
{
    std::ifstream in{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
}

void write_at(const fs::path& path, std::size_t offset, std::span<const char> bytes)
{
    std::fstream file{path, std::ios::binary | std::ios::in | std::ios::out};
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    REQUIRE(file.good());
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

} // namespace

TEST_CASE("segment adapter: what was stored is found, locked and loaded")
{
    segment_world w;
    CHECK(w.lookup(keys({1, 2})).none());
    CHECK(w.put(keys({1, 2})).all());
    CHECK(w.lookup(keys({1, 3, 2})) == bits({true, false, true}));
    CHECK(w.status().locked_objects == 2);
    CHECK(w.get(keys({2, 3, 1})) == bits({true, false, true}));
    w.unlock(keys({1, 2, 3}));

    const terrace::adapter_status status = w.status();
    CHECK(status.name == "segment:" + w.directory.path().string());
    CHECK(status.health == adapter_health::healthy);
    CHECK(status.problem.empty());
    CHECK(status.objects == 2);
    CHECK(status.used_bytes == 2 * segment_world::record_bytes);
    CHECK(status.locked_objects == 0);
    CHECK(status.in_flight == 0);
    CHECK(status.corrupt_objects == 0);
}

TEST_CASE("segment adapter: objects of all sizes come back, from and into memory of any alignment")
{
    segment_world w{0, 16 << 20};
    for (const bool aligned : {true, false})
        for (const std::size_t bytes :
             {std::size_t{1}, block - 1, block, block + 1, 16 * block, 16 * block + 1, std::size_t{5 << 20} + 1}) {
            CHECK(w.put(keys({bytes, bytes + 1}), bytes, aligned).all());
            CHECK(w.get(keys({bytes, bytes + 1}), bytes, true).all());
            CHECK(w.get(keys({bytes, bytes + 1}), bytes, false).all());
        }
    CHECK(w.status().corrupt_objects == 0);
}

TEST_CASE("segment adapter: a segment is as docs/formats/segment.md says")
{
    segment_world w{0, 64 << 10};
    const object_key k{"m/x", chunk_hash::from_number(0x0102), 3, 4, "salt"};
    w.put({k});
    const std::vector<char> file = bytes_of(w.segment(1));
    REQUIRE(file.size() == 64 << 10);
    const auto number_at = [&](std::size_t offset, std::size_t bytes) {
        std::uint64_t n = 0;
        for (std::size_t i = bytes; i-- != 0;)
            n = n << 8 | static_cast<unsigned char>(file[offset + i]);
        return n;
    };
    CHECK(std::string(file.begin(), file.begin() + 8) == "TERRSEGM");
    CHECK(number_at(8, 4) == 1);
    CHECK(number_at(12, 4) == 1);
    CHECK(number_at(24, 8) == 1);
    CHECK(number_at(32, 8) == 64 << 10);

    const char* record = file.data() + block;
    CHECK(std::string(record, record + 8) == "TERRRECD");
    CHECK(number_at(block + 8, 4) == 1);
    CHECK(number_at(block + 12, 4) == 1);
    CHECK(number_at(block + 16, 8) == number_at(16, 8));
    CHECK(number_at(block + 24, 8) == block);
    CHECK(number_at(block + 32, 8) == 1);
    CHECK(number_at(block + 40, 8) == memory_layout::bytes(segment_world::payload_bytes).fingerprint());
    CHECK(number_at(block + 48, 8) == segment_world::payload_bytes);
    CHECK(number_at(block + 64, 8) == 1);
    CHECK(number_at(block + 72, 2) == k.to_string().size());
    CHECK(std::string(record + 74, record + 74 + k.to_string().size()) == k.to_string());
    const auto payload = content(seed_of(k), segment_world::payload_bytes);
    CHECK(std::equal(payload.begin(), payload.end(), file.data() + 2 * block,
                     [](std::byte a, char b) { return std::to_integer<char>(a) == b; }));
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
    SUBCASE("somebody else's")
    {
        std::ofstream{snapshot, std::ios::binary} << "TERRSNAP, or so";
    }
    w.open();
    CHECK(w.get(keys_to(1, 5)).all());
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

TEST_CASE("segment adapter: whatever happens to the bytes, what loads is right")
{
    segment_world w{2 << 20, 64 << 10};
    w.put(keys_to(1, 60));
    w.erase(keys({7, 8}));
    w.put(keys_to(20, 30));
    SUBCASE("with a snapshot")
    {
        w.run(w.adapter->close());
    }
    SUBCASE("without") {}
    w.adapter.reset();
    std::map<fs::path, std::vector<char>> pristine;
    for (const auto& entry : fs::directory_iterator{w.directory.path()})
        pristine.emplace(entry.path(), bytes_of(entry.path()));

    const auto seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    for (int round = 0; round < 60; ++round) {
        CAPTURE(round);
        for (const auto& [path, bytes] : pristine) {
            fs::remove(path);
            std::ofstream{path, std::ios::binary}.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        }
        for (int wound = 0; wound < 6; ++wound) {
            const auto& [path, bytes] =
                *std::next(pristine.begin(), static_cast<std::ptrdiff_t>(random() % pristine.size()));
            const std::uint64_t size = fs::file_size(path);
            if (size == 0)
                continue;
            const std::uint64_t at = random() % size;
            switch (random() % 4) {
            case 0:
                flip_bit(path, at);
                break;
            case 1:
                fs::resize_file(path, at);
                break;
            case 2: { // foreign bytes
                std::vector<char> foreign(std::min<std::uint64_t>(size - at, random() % 10'000));
                std::ranges::generate(foreign, [&] { return static_cast<char>(random()); });
                write_at(path, at, foreign);
                break;
            }
            default: { // of another place of this directory
                const auto& other =
                    std::next(pristine.begin(), static_cast<std::ptrdiff_t>(random() % pristine.size()))->second;
                const std::uint64_t from = random() % std::max<std::uint64_t>(other.size(), 1) / block * block;
                const std::uint64_t to = at / block * block;
                write_at(path, to,
                         std::span{other}.subspan(from, std::min({other.size() - from, size - to, 5 * block})));
            }
            }
        }
        w.open();
        w.get(keys_to(1, 60)); // checks what loads; if the erasure is what was hit, so may 7 and 8
        CHECK(w.put(keys_to(100, 110)).all());
        CHECK(w.get(keys_to(100, 110)).all());
        CHECK(w.disk_bytes() <= w.options.capacity_bytes);
        w.adapter.reset();
    }
}

TEST_CASE("segment adapter: full, it evicts what was written first, and never takes more than its capacity")
{
    segment_world w{1 << 20, 64 << 10};
    for (std::uint64_t n = 0; n < 500; n += 5) {
        CHECK(w.put(keys_to(n, n + 4)).all());
        REQUIRE(w.disk_bytes() <= w.options.capacity_bytes);
    }
    const terrace::adapter_status status = w.status();
    CHECK(status.objects + status.evicted_objects == 500);
    CHECK(status.objects >= 90); // 15 segments of 7, of which one is free
    CHECK(status.used_bytes == status.objects * segment_world::record_bytes);
    CHECK(w.has(keys_to(500 - status.objects, 499)).all());
    CHECK(w.get(keys_to(500 - status.objects, 499)).all());

    SUBCASE("nor after a crash")
    {
        w.reopen(segment_world::ending::crashed);
        CHECK(w.get(keys_to(420, 499)).all());
        CHECK(w.put(keys_to(500, 600)).all());
        CHECK(w.get(keys_to(550, 600)).all());
        CHECK(w.disk_bytes() <= w.options.capacity_bytes);
    }
    SUBCASE("nor after a close()")
    {
        w.reopen(segment_world::ending::closed);
        CHECK(w.status().objects == status.objects);
        CHECK(w.put(keys_to(500, 600)).all());
        CHECK(w.get(keys_to(550, 600)).all());
        w.run(w.adapter->close());
        CHECK(w.disk_bytes() <= w.options.capacity_bytes);
    }
    SUBCASE("nor with a smaller one, or other segments")
    {
        w.options.segment_bytes = 128 << 10;
        w.options.capacity_bytes = 1 << 20;
        w.open();
        CHECK(w.get(keys_to(440, 499)).all());
        for (std::uint64_t n = 600; n < 700; n += 5) {
            CHECK(w.put(keys_to(n, n + 4)).all());
            REQUIRE(w.disk_bytes() <= w.options.capacity_bytes);
        }
        CHECK(w.get(keys_to(650, 699)).all());
    }
}

TEST_CASE("segment adapter: what was loaded since it was written is written again, what was not goes")
{
    segment_world w{1 << 20, 64 << 10};
    w.put(keys({1, 2, 3}));
    for (std::uint64_t n = 100; n < 500; n += 4) {
        CHECK(w.get(keys({1, 3})).all());
        w.put(keys_to(n, n + 3));
    }
    CHECK(w.has(keys({1, 2, 3})) == bits({true, false, true}));
    w.reopen(segment_world::ending::crashed); // by its copies
    CHECK(w.get(keys({1, 3})).all());

    SUBCASE("and if everything is, half goes")
    {
        for (std::uint64_t n = 500; n < 1000; n += 4) {
            CHECK(w.put(keys_to(n, n + 3)).all());
            CHECK(w.get(keys_to(n, n + 3)).all());
        }
        CHECK(w.get(keys_to(990, 999)).all());
        CHECK(w.disk_bytes() <= w.options.capacity_bytes);
    }
    SUBCASE("and no longer, when it is no longer loaded")
    {
        for (std::uint64_t n = 500; n < 1200; n += 4)
            w.put(keys_to(n, n + 3));
        CHECK(w.has(keys({1, 3})).none());
    }
}

TEST_CASE("segment adapter: what is locked is not evicted, wherever it is written to")
{
    segment_world w{1 << 20, 64 << 10};
    w.put(keys_to(1, 10));
    CHECK(w.lookup(keys_to(1, 10)).all());
    for (std::uint64_t n = 100; n < 600; n += 4)
        CHECK(w.put(keys_to(n, n + 3)).all());
    CHECK(w.get(keys_to(1, 10)).all());
    CHECK(w.status().locked_objects == 10);
    CHECK(w.disk_bytes() <= w.options.capacity_bytes);
    w.unlock(keys_to(1, 10));
    CHECK(w.status().locked_objects == 0);
}

TEST_CASE("segment adapter: a store without room is refused, and evicts nothing in vain")
{
    segment_world w{1 << 20, 64 << 10};
    w.put(keys_to(1, 90));
    const std::uint64_t objects = w.status().objects;
    SUBCASE("larger than a segment")
    {
        CHECK(w.put(keys({200}), 60'000).none());
        CHECK(w.status().problem.find("a segment has room for 53248") != std::string::npos);
        CHECK(w.put(keys({200}), 53'248).all());
    }
    SUBCASE("when all else is locked")
    {
        w.put(keys_to(91, 98)); // 14 segments of 7; one more is there to copy to
        w.lookup(keys_to(1, 98));
        CHECK(w.put(keys({110})).none());
        CHECK(w.status().problem.find("locked") != std::string::npos);
        CHECK(w.status().evicted_objects == 0);
        CHECK(w.get(keys_to(1, 98)).all());
        w.unlock(keys_to(1, 98));
        CHECK(w.put(keys_to(110, 120)).all());
    }
    CHECK(w.status().failed_stores > 0);
    CHECK(w.status().health == adapter_health::healthy);
    CHECK(w.status().objects >= objects - 10);
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

TEST_CASE("segment adapter: stored if absent, an object that is there is not written again")
{
    segment_world w;
    w.put(keys({1}));
    CHECK(w.put(keys({1, 2}), segment_world::payload_bytes, false, terrace::store_mode::if_absent).all());
    CHECK(w.status().kept_objects == 1);
    CHECK(w.status().objects == 2);
    CHECK(w.put(keys({1}), 2000, false, terrace::store_mode::if_absent).all()); // another layout
    CHECK(w.status().kept_objects == 1);
    CHECK(w.get(keys({1}), 2000).all());
}

TEST_CASE("segment adapter: a damaged object, or one of another layout, is a miss, is counted and removed")
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
    SUBCASE("another layout")
    {
        CHECK(w.get(keys({1}), 999).none());
    }
    SUBCASE("another layout of the same size")
    {
        CHECK(w.get(keys({1}), memory_layout{{terrace::tensor{{10, 100}, terrace::dtype::i8}}}).none());
    }
    CHECK(w.get(keys({1, 2})) == bits({false, true}));
    CHECK(w.status().corrupt_objects == 1);
    CHECK(w.status().objects == 1);
    CHECK(w.put(keys({1})).all());
    CHECK(w.get(keys({1})).all());
}

TEST_CASE("segment adapter: storing a key again replaces its object, also twice at once")
{
    segment_world w;
    w.put(keys({1}), 1000);
    CHECK(w.put(keys({1}), 2000).all());
    CHECK(w.status().objects == 1);
    w.lookup(keys({1}));
    CHECK(w.put(keys({1}), 5000).all());
    CHECK(w.status().used_bytes == 3 * block);
    CHECK(w.get(keys({1}), 5000).all());
    w.unlock(keys({1}));

    const std::array versions{content(1, 3000), content(2, 3000)};
    int stored = 0;
    std::vector<std::vector<terrace::store_item>> items;
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
    const std::vector<terrace::load_item> loads{{key(1), memory_layout::bytes(3000), buffer}};
    CHECK(w.run(w.adapter->load(loads)).all());
    CHECK(buffer == versions[1]); // the later one
}

TEST_CASE("segment adapter: erase removes what is there and not locked")
{
    segment_world w;
    w.put(keys({1, 2}));
    w.lookup(keys({2}));
    CHECK(w.erase(keys({1, 2, 3})) == bits({true, false, false}));
    CHECK(w.get(keys({1, 2})) == bits({false, true}));
    w.unlock(keys({2}));
    CHECK(w.erase(keys({2})).all());
    CHECK(w.status().objects == 0);
    CHECK(w.status().used_bytes == 0);
}

TEST_CASE("segment adapter: a thousand objects are erased and listed in one call each")
{
    segment_world w;
    w.put(keys_to(1, 1000));
    std::vector<object_key> seen;
    std::optional<list_cursor> next{list_cursor{"", 300}};
    std::size_t pages = 0;
    for (; next; ++pages) {
        const terrace::key_page page = w.run(w.adapter->list(*next));
        CHECK(page.keys.size() <= 300);
        seen.insert(seen.end(), page.keys.begin(), page.keys.end());
        next = page.next;
    }
    CHECK(pages == 4);
    CHECK(std::ranges::is_permutation(seen, keys_to(1, 1000)));
    CHECK_THROWS_AS(w.run(w.adapter->list(list_cursor{"x"})), std::invalid_argument);

    CHECK(w.erase(keys_to(1, 1000)).all());
    w.reopen(segment_world::ending::crashed);
    CHECK(w.status().objects == 0);
}

TEST_CASE("segment adapter: what it would evict can be locked and moved elsewhere first")
{
    segment_world w{1 << 20, 64 << 10};
    const auto victims = [&](std::uint64_t objects) {
        return w.run(w.adapter->lock_victims(objects, objects * segment_world::payload_bytes));
    };
    CHECK(victims(10).empty());
    w.put(keys_to(1, 14 * 7)); // 14 segments of 15
    w.get(keys({2}));
    CHECK(w.status().evicted_objects == 0);

    const auto first = victims(5);
    REQUIRE(first.size() == 6); // of 7, one was loaded
    CHECK(first[0].key == key(1));
    CHECK(first[1].key == key(3));
    CHECK(first[0].layout == memory_layout::bytes(segment_world::payload_bytes));
    CHECK(w.status().locked_objects == 6);
    std::vector<object_key> moved;
    for (const auto& victim : first)
        moved.push_back(victim.key);
    CHECK(w.get(moved).all()); // to move them is no use of them
    w.unlock(moved);

    SUBCASE("and goes then")
    {
        w.put(keys_to(200, 204));
        CHECK(w.has(moved).none());
        CHECK(w.has(keys({2, 8})).all());
    }
    SUBCASE("or is erased, and there is room")
    {
        CHECK(w.erase(moved).all());
        CHECK(victims(4).empty());
        const std::uint64_t evicted = w.status().evicted_objects;
        w.put(keys_to(200, 203));
        CHECK(w.status().evicted_objects == evicted);
    }
    SUBCASE("or stays, if somebody wants it meanwhile")
    {
        (void)victims(5);
        w.lookup(moved);
        w.get(moved);
        w.unlock(moved);
        w.unlock(moved);
        w.put(keys_to(200, 204));
        CHECK(w.has(moved).any());
    }
}

TEST_CASE("segment adapter: killed at any moment, it has lost nothing that it acknowledged")
{
    const auto seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    segment_world w{0, 1 << 20};
    w.options.sync = segment_sync::data;
    w.adapter.reset();
    std::uint64_t next = 1;
    std::set<std::uint64_t> stored;
    std::set<std::uint64_t> erased;
    for (int round = 0; round < 20; ++round) {
        std::array<int, 2> told{};
        REQUIRE(::pipe(told.data()) == 0);
        const pid_t child = ::fork();
        if (child == 0) {
            ::close(told[0]);
            w.open();
            for (std::uint64_t n = next;; n += 3) {
                const std::size_t bytes = n % 5 == 0 ? 200'000 : 3000;
                if (!w.put(keys_to(n, n + 2), bytes, true).all() || (n % 2 == 0 && !w.erase(keys({n})).all()))
                    ::_exit(1);
                (void)!::write(told[1], &n, sizeof n);
            }
        }
        REQUIRE(child > 0);
        ::close(told[1]);
        std::uint64_t n = 0;
        bool more = ::read(told[0], &n, sizeof n) == sizeof n; // it is under way
        ::usleep(static_cast<useconds_t>(random() % 20'000));
        REQUIRE(::kill(child, SIGKILL) == 0);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status));
        for (; more; more = ::read(told[0], &n, sizeof n) == sizeof n) {
            for (std::uint64_t i = n; i < n + 3; ++i)
                (i == n && n % 2 == 0 ? erased : stored).insert(i);
            next = n + 3;
        }
        ::close(told[0]);

        w.open();
        for (const std::uint64_t i : stored) {
            const std::uint64_t first = i - (i - 1) % 3;
            CHECK(w.get(keys({i}), first % 5 == 0 ? 200'000 : 3000).all());
        }
        for (const std::uint64_t i : erased)
            CHECK(w.has(keys({i})).none());
        CHECK(w.status().corrupt_objects == 0);
        w.adapter.reset();
        next += 3; // what was under way may be there or not
    }
    CHECK(stored.size() >= 40);
}

TEST_CASE("segment adapter: loads beside stores and evictions see one object or the other, whole")
{
    segment_world w{2 << 20, 256 << 10};
    constexpr std::size_t size = 64 * 1024;
    const memory_layout layout = memory_layout::bytes(size);
    const std::array versions{content(1, size), content(2, size)};
    int loaded = 0;
    const auto keep_storing = [&](std::size_t version) -> asio::awaitable<void> {
        for (std::uint64_t i = 0; i < 60; ++i) {
            const std::vector<terrace::store_item> items{{key(1), layout, versions.at(version)},
                                                         {key(10 + i), layout, versions.at(version)}};
            const bitmap stored = co_await w.adapter->store(items);
            CHECK(stored.all());
        }
    };
    const auto keep_loading = [&](memory& buffer) -> asio::awaitable<void> {
        const std::vector<terrace::load_item> items{{key(1), layout, buffer.bytes()}};
        const std::vector<object_key> names = keys({1});
        for (int i = 0; i < 200; ++i) {
            const bitmap found = co_await w.adapter->lookup_and_lock(names);
            const bitmap got = co_await w.adapter->load(items);
            co_await w.adapter->unlock(names);
            CHECK((got.any() || found.none()));
            if (got.none())
                continue;
            CHECK((std::ranges::equal(buffer.bytes(), versions[0]) || std::ranges::equal(buffer.bytes(), versions[1])));
            ++loaded;
        }
    };
    const auto rethrow = [](std::exception_ptr e) {
        if (e)
            std::rethrow_exception(e);
    };
    std::vector<memory> buffers;
    for (const bool aligned : {true, false, true})
        buffers.emplace_back(size, aligned);
    const std::vector<terrace::store_item> before{{key(1), layout, versions[0]}};
    CHECK(w.run(w.adapter->store(before)).all()); // a load that finds nothing does not wait
    w.context.restart();
    asio::co_spawn(w.context, keep_storing(0), rethrow);
    asio::co_spawn(w.context, keep_storing(1), rethrow);
    for (memory& buffer : buffers)
        asio::co_spawn(w.context, keep_loading(buffer), rethrow);
    w.context.run();
    CHECK(loaded > 0);
    CHECK(w.status().corrupt_objects == 0);
    CHECK(w.status().evicted_objects > 0);
    CHECK(w.status().locked_objects == 0);
}

TEST_CASE("segment adapter: cancelled at any point, a call ends and holds nothing")
{
    segment_world w{0, 8 << 20};
    w.options.threads = 1;
    w.open();
    const std::vector<object_key> known = keys_to(1, 20);
    w.put(known, 256 * 1024, true);
    std::vector<memory> buffers;
    std::vector<terrace::load_item> loads;
    std::vector<terrace::store_item> stores;
    for (std::size_t i = 0; i < known.size(); ++i) {
        buffers.emplace_back(256 * 1024, true);
        std::ranges::copy(content(seed_of(key(100 + i)), 256 * 1024), buffers.back().bytes().begin());
        loads.emplace_back(known[i], memory_layout::bytes(256 * 1024), buffers[i].bytes());
        stores.emplace_back(key(100 + i), memory_layout::bytes(256 * 1024), buffers[i].bytes());
    }
    enum class call { load, store, erase };
    call which = call::load;
    SUBCASE("load") {}
    SUBCASE("store")
    {
        which = call::store;
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
        case call::erase:
            break;
        }
        return w.adapter->erase(known);
    };
    for (int handlers = 0; handlers < 8; ++handlers) {
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
        if (!ended)
            cancel.emit(asio::cancellation_type::terminal);
        w.context.run();
        REQUIRE(ended.has_value());
        CHECK(!*ended);
        CHECK(w.status().in_flight == 0);
        if (which == call::store)
            answer.for_each_set([&](std::size_t i) { CHECK(w.get({stores[i].key}, 256 * 1024).all()); });
        if (which == call::erase)
            CHECK(w.has(known).none());
    }
    w.run(w.adapter->close());
    CHECK(w.status().in_flight == 0);
}

TEST_CASE("segment adapter: on a full disk stores fail, and work again when there is room")
{
    segment_world w;
    w.adapter.reset();
    const small_disk disk{w.directory.path(), "size=4m"};
    if (!disk.mounted()) {
        MESSAGE("skipped: this process may not mount a tmpfs");
        return;
    }
    const fs::path others = w.directory.path() / "others";
    std::ofstream{others, std::ios::binary} << std::string(3'500'000, 'x');
    w.open();
    CHECK(w.put(keys({1, 2})).none());
    CHECK(w.status().health == adapter_health::degraded);
    CHECK(w.status().problem.find("No space left on device") != std::string::npos);
    CHECK(w.status().failed_stores == 2);
    CHECK(w.status().objects == 0);

    fs::remove(others);
    CHECK(w.put(keys({1, 2})).all());
    CHECK(w.status().health == adapter_health::healthy);
    CHECK(w.get(keys({1, 2})).all());

    SUBCASE("less than the capacity has room for, the disk is the limit")
    {
        for (std::uint64_t n = 100; n < 1500; n += 10)
            CHECK(w.put(keys_to(n, n + 9)).all());
        CHECK(w.status().evicted_objects > 0);
        CHECK(w.get(keys_to(1490, 1499)).all());
    }
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
        return terrace::make_segment_adapter(
            terrace::adapter_spec::parse("segment:" + (at.path() / "a/b").string() + query));
    };
    CHECK_THROWS_AS((void)terrace::make_segment_adapter(terrace::adapter_spec::parse("segment:")),
                    std::invalid_argument);
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

TEST_CASE("segment adapter: wrong arguments are refused before anything changes, empty batches are answered")
{
    segment_world w;
    std::array<std::byte, 10> bytes{};
    const std::vector<terrace::load_item> loads{{key(1), memory_layout::bytes(11), bytes}};
    const std::vector<terrace::store_item> stores{{key(1), memory_layout::bytes(11), bytes}};
    CHECK_THROWS_AS(w.run(w.adapter->load(loads)), std::invalid_argument);
    CHECK_THROWS_AS(w.run(w.adapter->store(stores)), std::invalid_argument);
    CHECK_THROWS_AS(w.lookup({object_key{}}), std::invalid_argument);
    CHECK(w.put({}).size() == 0);
    CHECK(w.get({}).size() == 0);
    CHECK(w.lookup({}).size() == 0);
    CHECK(w.erase({}).size() == 0);
}

TEST_CASE("segment adapter: closed, it holds no lock and refuses every call")
{
    segment_world w;
    w.put(keys({1}));
    w.lookup(keys({1}));
    w.run(w.adapter->close());
    CHECK(w.status().locked_objects == 0);
    CHECK(w.status().in_flight == 0);
    CHECK_THROWS_WITH_AS(w.lookup(keys({1})), doctest::Contains("segment adapter"), boost::system::system_error);
}

TEST_CASE("segment adapter: destroyed without close(), it ends what is in flight first")
{
    segment_world w{0, 4 << 20};
    const std::vector<object_key> many = keys_to(1, 50);
    w.put(many, 64 * 1024, true);
    // Freed together right after the adapter: the sanitizers see a thread that still uses them.
    auto buffers = std::make_unique<std::vector<memory>>();
    std::vector<terrace::load_item> loads;
    std::vector<terrace::store_item> stores;
    for (const object_key& k : many) {
        buffers->emplace_back(64 * 1024, true);
        loads.emplace_back(k, memory_layout::bytes(64 * 1024), buffers->back().bytes());
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
    w.context.run();
    CHECK(ended == 2);
}

TEST_CASE("segment adapter: an executor that goes first takes the calls with it")
{
    segment_world w;
    const std::vector<std::byte> bytes = content(1, 256 * 1024);
    auto context = std::make_unique<asio::io_context>();
    const std::vector<terrace::store_item> stores{{key(1), memory_layout::bytes(bytes.size()), bytes}};
    const std::vector<object_key> names = keys({1});
    asio::co_spawn(*context, w.adapter->store(stores), [](std::exception_ptr, const bitmap&) {});
    for (int i = 0; i < 3; ++i)
        context->run_one();
    w.adapter.reset();
    context.reset();
}
