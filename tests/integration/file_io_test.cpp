// How a file adapter reads and writes: past the page cache or through it, by io_uring or by threads, and what fails.

#include "integration/broken_sector.hpp"
#include "integration/file_world.hpp"

#include "support/small_disk.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <csignal>
#include <set>
#include <sys/resource.h>

namespace fs = std::filesystem;
using namespace terrace;
using namespace terrace::test;

namespace {

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

TEST_CASE_TEMPLATE("file adapter: a thousand objects go and come in one call, and lie in many folders", How, on_ring,
                   on_threads, cached)
{
    file_world<How> w{0, 4};
    std::vector<object_key> many;
    for (std::uint64_t n = 0; n < 1000; ++n)
        many.push_back(key(n));
    CHECK(w.put(many).all());
    CHECK(w.get(many).all());
    CHECK(w.status().objects == 1000);
    std::set<fs::path> folders;
    for (const fs::path& path : w.files())
        folders.insert(path.parent_path());
    CHECK(folders.size() > 200);
}

TEST_CASE_TEMPLATE("file adapter: objects of all sizes come back, also those that are not whole pages", How, on_ring,
                   on_threads, cached)
{
    file_world<How> w;
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{4095}, std::size_t{4096}, std::size_t{300'001}}) {
        CHECK(w.put(keys({bytes}), bytes).all());
        CHECK(w.get(keys({bytes}), bytes).all());
    }
}

TEST_CASE_TEMPLATE("file adapter: a store that the disk refuses leaves nothing behind, and shows in the health", How,
                   on_ring, on_threads, cached)
{
    file_world<How> w;
    CHECK(w.put(keys({1})).all());
    {
        const file_size_limit limit{16 * 1024}; // the first write is short, the second fails
        CHECK_THROWS_WITH(w.put(keys({1, 2}), 64 * 1024), doctest::Contains("File too large")); // neither was stored
    }
    adapter_status status = w.status();
    CHECK(status.health == adapter_health::degraded);
    CHECK(status.problem.find("File too large") != std::string::npos);
    CHECK(status.failed_stores == 2);
    CHECK(status.objects == 1);
    CHECK(status.used_bytes == file_bytes);
    CHECK(w.files().size() == 1);
    CHECK(w.get(keys({1, 2})) == bits({true, false})); // the old object, whole

    CHECK(w.put(keys({2})).all());
    status = w.status();
    CHECK(status.health == adapter_health::healthy);
    CHECK(status.failed_stores == 2);
}

TEST_CASE_TEMPLATE("file adapter: flushed before the answer, if that is asked for", How, on_ring, on_threads, cached)
{
    file_world<How> w;
    w.options.sync = file_sync::data;
    w.open();
    CHECK(w.put(keys({1, 2, 3, 4, 5})).all());
    CHECK(w.get(keys({1, 2, 3, 4, 5})).all());
    CHECK(w.files().size() == 5);
}

TEST_CASE("file adapter: what cannot be moved directly goes through the page cache")
{
    const temporary_directory at;
    file_world<on_ring> w;
    SUBCASE("as the memory lies, or the size is")
    {
        for (const std::size_t bytes : {payload_bytes, payload_bytes + 8})
            for (const bool aligned : {true, false}) {
                CHECK(w.adapter_world::put(keys({1}), bytes, aligned).all());
                CHECK(w.adapter_world::get(keys({1}), bytes, aligned).all());
                CHECK(w.adapter_world::get(keys({1}), bytes, !aligned).all());
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

TEST_CASE("file adapter: a store that is cancelled at any point leaves no temporary file")
{
    file_world<> w{0, 1};
    std::vector<memory> payloads;
    std::vector<store_item> items;
    for (const object_key& k : keys_to(1, 20)) {
        payloads.emplace_back(256 * 1024);
        items.emplace_back(k, memory_layout::bytes(256 * 1024), payloads.back().bytes());
    }
    for (int handlers = 0; handlers < 4; ++handlers) {
        asio::cancellation_signal cancel;
        bool ended = false;
        const auto end = [&](std::exception_ptr, const bitmap&) { ended = true; };
        asio::co_spawn(w.context, w.adapter->store(items), asio::bind_cancellation_slot(cancel.slot(), end));
        w.context.restart();
        for (int i = 0; i < handlers && !ended; ++i)
            w.context.run_one();
        if (!ended)
            cancel.emit(asio::cancellation_type::terminal);
        w.context.run();
        CHECK(ended);
        CHECK(w.files().size() == w.status().objects);
    }
}

TEST_CASE("file adapter: one file that ends where nothing is aligned does not end direct I/O for the others")
{
    file_world<on_threads> w;
    w.put(keys({1, 2}));
    const auto is_read_directly = [&](std::uint64_t n) {
        const broken_sector broken{w.file_of(key(n)), 0};
        CHECK(w.get(keys({n})).none());
        return broken.was_direct();
    };
    if (!is_read_directly(2)) {
        MESSAGE("skipped: there is no direct I/O here");
        return;
    }
    {
        const broken_sector end{w.file_of(key(1)), header_bytes, EINVAL}; // what Linux says of the rest of such a file
        CHECK(w.get(keys({1})).none());
        CHECK(end.failures() == 2); // directly, and through the page cache
    }
    CHECK(is_read_directly(2));
}
