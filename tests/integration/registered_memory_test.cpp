#include <terrace/io/disk_io.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <cstring>
#include <doctest/doctest.h>
#include <exception>
#include <fcntl.h>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include <terrace/file_adapter.hpp>
#include <terrace/io/unique_fd.hpp>
#include <terrace/segment_adapter.hpp>
#include <terrace/terrace.hpp>

#include "support/temporary_directory.hpp"

namespace asio = boost::asio;
using namespace terrace;
using io::disk_io;
using io::transfer;

namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t mib = std::size_t{1} << 20;

/// Addresses of which the first bytes are memory, and the others are not to be touched.
class part_of_memory {
public:
    part_of_memory(std::size_t usable, std::size_t all) : all_{all}
    {
        void* const found = ::mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        REQUIRE(found != MAP_FAILED);
        data_ = static_cast<std::byte*>(found);
        make_usable(usable);
    }
    part_of_memory(const part_of_memory&) = delete;
    part_of_memory& operator=(const part_of_memory&) = delete;
    ~part_of_memory() { ::munmap(data_, all_); }

    void make_usable(std::size_t bytes) const { REQUIRE(::mprotect(data_, bytes, PROT_READ | PROT_WRITE) == 0); }
    [[nodiscard]] std::span<std::byte> first(std::size_t bytes) const { return {data_, bytes}; }
    [[nodiscard]] std::span<std::byte> at(std::size_t offset, std::size_t bytes) const
    {
        return {data_ + offset, bytes};
    }

private:
    std::byte* data_ = nullptr;
    std::size_t all_;
};

/// A disk_io that registers memory, and a file of 64 KiB, each byte of which tells its place.
struct world {
    world()
    {
        io::disk_io_options options;
        options.threads = 2;
        options.register_memory = true;
        disk = disk_io::make(options);
        file = io::unique_fd{::open((directory.path() / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
        REQUIRE(file.is_open());
        for (std::size_t i = 0; i < bytes.size(); ++i)
            bytes[i] = static_cast<std::byte>(i * 31 + i / 256);
        REQUIRE(::pwrite(file.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
        (void)::fcntl(file.get(), F_SETFL, O_DIRECT); // refused in memory, which makes no difference here
    }
    ~world() { disk->stop(); }

    void run(asio::awaitable<void> work)
    {
        std::exception_ptr failure;
        asio::co_spawn(context, std::move(work), [&](std::exception_ptr e) { failure = e; });
        context.restart();
        context.run();
        if (failure)
            std::rethrow_exception(failure);
    }
    void run(transfer& t) { run(disk->run(std::span{&t, 1})); }
    /// Until the pool has done what use_memory() asked of it.
    void register_memory(std::span<std::byte> memory)
    {
        const std::string before = disk->backend();
        disk->use_memory(memory);
        const auto is_done = [&] {
            const std::string now = disk->backend();
            const bool all_or_refused = now.find(" of ") == std::string::npos || now.find(": ") != std::string::npos;
            return now != before && all_or_refused;
        };
        for (int turn = 0; turn < 100'000 && !is_done(); ++turn)
            run(disk->for_each(2, 1, nothing));
    }
    [[nodiscard]] bool has_ring() const { return disk->backend().starts_with("io_uring"); }
    [[nodiscard]] bool is_at(std::span<const std::byte> what, std::size_t offset) const
    {
        return offset + what.size() <= bytes.size() && std::memcmp(what.data(), &bytes[offset], what.size()) == 0;
    }

    test::temporary_directory directory;
    asio::io_context context{1};
    std::unique_ptr<disk_io> disk;
    io::unique_fd file;
    std::vector<std::byte> bytes = std::vector<std::byte>(16 * page);
    const std::function<void(std::size_t)> nothing = [](std::size_t) {};
};

} // namespace

TEST_CASE("registered memory: transfers from and into it move what others do")
{
    world w;
    if (!w.has_ring())
        return;
    const part_of_memory memory{mib, mib};
    const part_of_memory elsewhere{mib, mib};
    w.register_memory(memory.first(mib));
    CHECK(w.disk->backend() == "io_uring, 1 MiB registered");

    SUBCASE("a read of one piece")
    {
        transfer t = transfer::read(w.file.get(), page, memory.at(0, 3 * page));
        w.run(t);
        CHECK(t.bytes() == 3 * page);
        CHECK(w.is_at(memory.at(0, 3 * page), page));
    }
    SUBCASE("a read whose head lies elsewhere")
    {
        transfer t = transfer::read(w.file.get(), page, elsewhere.at(0, page), memory.at(0, 3 * page));
        w.run(t);
        CHECK(t.bytes() == 4 * page);
        CHECK(w.is_at(elsewhere.at(0, page), page));
        CHECK(w.is_at(memory.at(0, 3 * page), 2 * page));
    }
    SUBCASE("a read whose body lies elsewhere")
    {
        transfer t = transfer::read(w.file.get(), page, memory.at(0, page), elsewhere.at(0, 3 * page));
        w.run(t);
        CHECK(t.bytes() == 4 * page);
        CHECK(w.is_at(memory.at(0, page), page));
        CHECK(w.is_at(elsewhere.at(0, 3 * page), 2 * page));
    }
    SUBCASE("a read that meets the end of the file, in the body or in the head")
    {
        transfer t = transfer::read(w.file.get(), 14 * page, elsewhere.at(0, page), memory.at(0, 3 * page));
        w.run(t);
        CHECK(!t.error());
        CHECK(t.bytes() == 2 * page);
        CHECK(w.is_at(memory.at(0, page), 15 * page));

        transfer u = transfer::read(w.file.get(), 15 * page, elsewhere.at(0, 2 * page), memory.at(0, page));
        w.run(u);
        CHECK(!u.error());
        CHECK(u.bytes() == page);
        CHECK(w.is_at(elsewhere.at(0, page), 15 * page));
    }
    SUBCASE("writes")
    {
        std::memcpy(memory.at(0, page).data(), &w.bytes[9 * page], page);
        std::memcpy(memory.at(page, page).data(), &w.bytes[3 * page], page);
        transfer t = transfer::write(w.file.get(), 0, memory.at(0, page), memory.at(page, page));
        w.run(t);
        transfer u = transfer::write(w.file.get(), 2 * page, elsewhere.at(0, page), memory.at(0, page));
        w.run(u);
        CHECK(t.bytes() == 2 * page);
        CHECK(u.bytes() == 2 * page);
        std::vector<std::byte> now(4 * page);
        REQUIRE(::fcntl(w.file.get(), F_SETFL, 0) == 0);
        REQUIRE(::pread(w.file.get(), now.data(), now.size(), 0) == static_cast<ssize_t>(now.size()));
        CHECK(w.is_at(std::span{now}.first(page), 9 * page));
        CHECK(w.is_at(std::span{now}.subspan(page, page), 3 * page));
        CHECK(w.is_at(std::span{now}.subspan(3 * page, page), 9 * page));
    }
    SUBCASE("an error of either part")
    {
        const io::unique_fd closed{::open((w.directory.path() / "file").c_str(), O_WRONLY | O_CLOEXEC)};
        transfer t = transfer::read(closed.get(), 0, elsewhere.at(0, page), memory.at(0, page));
        w.run(t);
        CHECK(t.error() == boost::system::errc::bad_file_descriptor);
    }
    SUBCASE("more of them at once than go into the kernel")
    {
        std::vector<transfer> all;
        for (std::size_t i = 0; i < 200; ++i)
            all.push_back(
                transfer::read(w.file.get(), i % 15 * page, elsewhere.at(i * page, page), memory.at(i * page, page)));
        w.run(w.disk->run(all));
        for (std::size_t i = 0; i < 200; ++i) {
            CHECK(all[i].bytes() == 2 * page);
            CHECK(w.is_at(elsewhere.at(i * page, page), i % 15 * page));
            CHECK(w.is_at(memory.at(i * page, page), (i % 15 + 1) * page));
        }
    }
}

TEST_CASE("registered memory: it grows, and pieces of it may be used together")
{
    world w;
    if (!w.has_ring())
        return;
    const part_of_memory memory{mib, 4 * mib};
    w.register_memory(memory.first(mib));
    memory.make_usable(4 * mib);
    w.register_memory(memory.first(4 * mib));
    CHECK(w.disk->backend() == "io_uring, 4 MiB registered");
    for (const std::size_t offset : {mib - page, mib, 4 * mib - 2 * page}) { // the first lies in both
        transfer t = transfer::read(w.file.get(), 0, memory.at(offset, 2 * page));
        w.run(t);
        CHECK(t.bytes() == 2 * page);
        CHECK(w.is_at(memory.at(offset, 2 * page), 0));
    }
}

TEST_CASE("registered memory: what the kernel refuses is used as it is, and the backend says so")
{
    world w;
    if (!w.has_ring())
        return;
    const part_of_memory memory{mib, 2 * mib};
    w.register_memory(memory.first(mib));
    w.register_memory(memory.first(2 * mib)); // of which the second half is none
    CHECK(w.disk->backend() == "io_uring, 1 MiB of 2 MiB registered: Bad address");
    memory.make_usable(2 * mib);
    transfer t = transfer::read(w.file.get(), 0, memory.at(mib - page, 2 * page));
    w.run(t);
    CHECK(w.is_at(memory.at(mib - page, 2 * page), 0));
}

TEST_CASE("registered memory: the engine names L1 to its adapters, and what it has grown by")
{
    const test::temporary_directory directory;
    std::string_view backend;
    SUBCASE("files")
    {
        backend = "file";
    }
    SUBCASE("segments")
    {
        backend = "segment";
    }
    asio::io_context context{1};
    config c;
    c.l1.capacity_bytes = 4 * mib;
    c.l1.initial_bytes = 2 * mib;
    c.l1.slice_bytes = 2 * mib;
    storage_manager manager{context.get_executor(), c};
    const std::string text = std::string{backend} + ":" + directory.path().string() + "?register=on";
    manager.add_adapter(backend == "file" ? make_file_adapter(adapter_spec::parse(text))
                                          : make_segment_adapter(adapter_spec::parse(text)));
    const auto run = [&](asio::awaitable<void> work) {
        bool done = false;
        std::exception_ptr failure;
        asio::co_spawn(context, std::move(work), [&](std::exception_ptr e) {
            done = true;
            failure = e;
        });
        while (!done)
            context.run_one();
        if (failure)
            std::rethrow_exception(failure);
    };
    const auto layout = memory_layout::bytes(mib);
    const object_key first{"model", chunk_hash::from_number(0)};
    std::vector<object_key> keys;
    for (std::uint64_t n = 0; n < 3; ++n) { // L1 has to grow for the third
        keys.push_back(first.with_hash(chunk_hash::from_number(n)));
        auto lease = manager.reserve_write(std::span{keys}.last(1), layout);
        std::memset(lease.bytes(0).data(), static_cast<int>(n + 1), mib);
        lease.commit();
        run(manager.flush());
    }
    CHECK(manager.clear(clear_mode::unlocked) == 3);
    const auto load = [&]() -> asio::awaitable<void> {
        const prefetch_result result = co_await manager.prefetch({keys, layout});
        REQUIRE(result.prefix_hits == 3);
        for (std::size_t i = 0; i < 3; ++i)
            CHECK(result.lease.bytes(i)[mib - 1] == static_cast<std::byte>(i + 1));
    };
    run(load());
    const auto said = [&] { return manager.status().adapters.at(0).self.backend; };
    for (int i = 0; i < 1000 && said() != "threads" && said() != "io_uring, 4 MiB registered"; ++i) {
        manager.clear(clear_mode::unlocked); // it registers beside the loads, and is soon done
        run(load());
    }
    CHECK((said() == "threads" || said() == "io_uring, 4 MiB registered"));
    run(manager.close());
}
