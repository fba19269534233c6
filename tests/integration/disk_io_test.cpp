#include <terrace/io/disk_io.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <filesystem>
#include <latch>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <unistd.h>
#include <vector>

#include <terrace/io/unique_fd.hpp>

namespace asio = boost::asio;
using terrace::io::disk_io;
using terrace::io::disk_io_options;
using terrace::io::io_backend;
using terrace::io::transfer;
using terrace::io::unique_fd;

namespace {

/// Whole pages, aligned as direct I/O wants them.
class pages {
public:
    explicit pages(std::size_t bytes) : memory_{std::aligned_alloc(4096, bytes), &std::free}, bytes_{bytes} {}
    [[nodiscard]] std::span<std::byte> bytes() const { return {static_cast<std::byte*>(memory_.get()), bytes_}; }

private:
    std::unique_ptr<void, decltype(&std::free)> memory_;
    std::size_t bytes_;
};

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

/// A file without a name, which goes with its descriptor.
unique_fd scratch_file(int flags = 0)
{
    std::string name = (std::filesystem::temp_directory_path() / "terrace-io-XXXXXX").string();
    unique_fd file{::mkostemp(name.data(), O_CLOEXEC)};
    REQUIRE(file.is_open());
    if (flags != 0 && ::fcntl(file.get(), F_SETFL, flags) != 0)
        MESSAGE("this file system refuses direct I/O");
    ::unlink(name.c_str());
    return file;
}

/// A pipe whose reader waits until something is written.
struct pipe_ends {
    pipe_ends()
    {
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        reader = unique_fd{ends[0]};
        writer = unique_fd{ends[1]};
    }
    unique_fd reader;
    unique_fd writer;
};

struct on_ring { // where the kernel has it
    static constexpr io_backend backend = io_backend::automatic;
};
struct on_threads {
    static constexpr io_backend backend = io_backend::threads;
};

/// An executor to await on, a disk_io, and how the awaited call ended.
template <class Backend>
struct world {
    explicit world(std::uint32_t threads = 2, std::uint32_t depth = 64)
    {
        options.backend = Backend::backend;
        options.threads = threads;
        options.depth = depth;
        disk = disk_io::make(options);
    }

    void start(asio::awaitable<void> operation)
    {
        ended.reset();
        const auto end = [this](std::exception_ptr e) { ended = e; };
        asio::co_spawn(context, std::move(operation), asio::bind_cancellation_slot(cancel.slot(), end));
    }
    void finish()
    {
        context.restart();
        context.run();
        REQUIRE(ended.has_value());
        if (*ended)
            std::rethrow_exception(*ended);
    }
    void run(asio::awaitable<void> operation)
    {
        start(std::move(operation));
        finish();
    }
    void run(transfer& t) { run(disk->run(std::span{&t, 1})); }

    disk_io_options options;
    asio::io_context context;
    asio::cancellation_signal cancel;
    std::optional<std::exception_ptr> ended;
    std::unique_ptr<disk_io> disk;
};

/// Reads object n of a file of 4 KiB objects, and notes what came.
class reading final : public terrace::io::staged_work {
public:
    explicit reading(int fd, std::size_t items) : fd_{fd}, memory{items * 4096}, begun(items), ended(items) {}

    std::optional<transfer> begin(std::size_t i) override
    {
        ++begun[i];
        if (i == left_out)
            return std::nullopt;
        if (i == throws)
            throw std::runtime_error("no");
        const int now = ++open_;
        for (int most = most_open; most < now && !most_open.compare_exchange_weak(most, now);) {
        }
        return transfer::read(fd_, i * 4096, bytes(i));
    }
    void end(std::size_t i, const transfer& done) override
    {
        ++ended[i];
        moved += done.bytes();
        --open_;
    }
    [[nodiscard]] std::span<std::byte> bytes(std::size_t i) const { return memory.bytes().subspan(i * 4096, 4096); }

private:
    int fd_;
    std::atomic<int> open_ = 0;

public:
    pages memory;
    std::atomic<int> most_open = 0;
    std::size_t left_out = SIZE_MAX;
    std::size_t throws = SIZE_MAX;
    std::vector<std::atomic<int>> begun;
    std::vector<std::atomic<int>> ended;
    std::atomic<std::uint64_t> moved = 0;
};

} // namespace

TEST_CASE_TEMPLATE("disk_io: what is written is read, in one piece or two", Backend, on_ring, on_threads)
{
    world<Backend> w;
    const unique_fd file = scratch_file();
    const std::vector<std::byte> written = content(1, 300'000);
    transfer write = transfer::write(file.get(), 5, std::span{written}.first(1000), std::span{written}.subspan(1000));
    CHECK(write.error() == asio::error::operation_aborted); // not yet
    w.run(write);
    CHECK(!write.error());
    CHECK(write.bytes() == written.size());

    std::vector<std::byte> read(written.size());
    transfer back = transfer::read(file.get(), 5, std::span{read}.first(77'777), std::span{read}.subspan(77'777));
    w.run(back);
    CHECK(!back.error());
    CHECK(read == written);

    transfer sync = transfer::sync(file.get());
    w.run(sync);
    CHECK(!sync.error());
}

TEST_CASE_TEMPLATE("disk_io: direct transfers, more than the depth, all arrive", Backend, on_ring, on_threads)
{
    world<Backend> w{2, 3};
    const unique_fd file = scratch_file(O_DIRECT);
    constexpr std::size_t count = 50;
    const pages from{count * 8192};
    const pages to{count * 8192};
    const std::vector<std::byte> random = content(2, from.bytes().size());
    std::ranges::copy(random, from.bytes().begin());
    std::vector<transfer> writes;
    std::vector<transfer> reads;
    for (std::size_t i = 0; i < count; ++i) {
        const auto piece = from.bytes().subspan(i * 8192, 8192);
        writes.push_back(transfer::write(file.get(), i * 8192, piece.first(4096), piece.last(4096)));
        reads.push_back(transfer::read(file.get(), i * 8192, to.bytes().subspan(i * 8192, 8192)));
    }
    w.run(w.disk->run(writes));
    w.run(w.disk->run(reads));
    for (const auto* batch : {&writes, &reads})
        for (const transfer& t : *batch) {
            CHECK(!t.error());
            CHECK(t.bytes() == 8192);
        }
    CHECK(std::ranges::equal(from.bytes(), to.bytes()));
}

TEST_CASE_TEMPLATE("disk_io: a read ends with the file, and a failure says what it was", Backend, on_ring, on_threads)
{
    world<Backend> w;
    const unique_fd file = scratch_file();
    REQUIRE(::ftruncate(file.get(), 10'000) == 0);
    std::vector<std::byte> memory(20'000);
    transfer across = transfer::read(file.get(), 5'000, memory);
    transfer beyond = transfer::read(file.get(), 30'000, memory);
    transfer nothing = transfer::read(file.get(), 0, {});
    transfer refused = transfer::read(-1, 0, memory);
    for (transfer* t : {&across, &beyond, &nothing, &refused})
        w.run(*t);
    CHECK(across.bytes() == 5'000);
    CHECK(!across.error());
    CHECK(beyond.bytes() == 0);
    CHECK(!beyond.error());
    CHECK(nothing.bytes() == 0);
    CHECK(!nothing.error());
    CHECK(refused.error() == boost::system::errc::bad_file_descriptor);
}

TEST_CASE("transfer: a call that stops short is continued where it stopped, in both pieces of memory")
{
    std::vector<std::byte> head(10);
    std::vector<std::byte> body(20);
    transfer t = transfer::read(3, 100, head, body);
    CHECK(t.next().bytes == 30);
    CHECK(t.note(-EINTR));
    CHECK(t.note(-EAGAIN));
    CHECK(t.next().offset == 100);

    CHECK(t.note(4)); // within the head
    CHECK(t.next().offset == 104);
    CHECK(t.next().count == 2);
    CHECK(t.next().parts[0].iov_base == head.data() + 4);
    CHECK(t.next().bytes == 26);

    CHECK(t.note(11)); // within the body
    CHECK(t.next().count == 1);
    CHECK(t.next().parts[0].iov_base == body.data() + 5);
    CHECK(t.next().parts[0].iov_len == 15);
    SUBCASE("to its end")
    {
        CHECK(!t.note(15));
        CHECK(t.bytes() == 30);
        CHECK(!t.error());
    }
    SUBCASE("to the end of the file")
    {
        CHECK(!t.note(0));
        CHECK(t.bytes() == 15);
        CHECK(!t.error());
    }
    SUBCASE("to a failure")
    {
        CHECK(!t.note(-EIO));
        CHECK(t.error() == boost::system::errc::io_error);
    }
    SUBCASE("no call moves more than it was asked for: such a result is not of this one")
    {
        CHECK(!t.note(16));
        CHECK(t.error() == boost::system::errc::io_error);
    }
}

TEST_CASE("transfer: what is too large for one call takes several; a write that moves nothing has no room")
{
    constexpr std::uint64_t limit = transfer::max_call_bytes;
    const std::span<std::byte> head{reinterpret_cast<std::byte*>(4096), 4096}; // never touched
    const std::span<std::byte> body{reinterpret_cast<std::byte*>(1 << 20), 2 * limit};
    transfer t = transfer::write(3, 0, head, body);
    CHECK(t.next().bytes == limit);
    CHECK(t.note(static_cast<std::int64_t>(limit)));
    CHECK(t.next().offset == limit);
    CHECK(t.next().bytes == limit);
    CHECK(t.note(static_cast<std::int64_t>(limit)));
    CHECK(t.next().bytes == 4096);
    CHECK(!t.note(0));
    CHECK(t.error() == boost::system::errc::no_space_on_device);
}

TEST_CASE_TEMPLATE("disk_io: a staged item is begun, moved and ended once", Backend, on_ring, on_threads)
{
    world<Backend> w{3, 4};
    int flags = 0;
    SUBCASE("through the page cache")
    {
        flags = 0;
    }
    SUBCASE("directly")
    {
        flags = O_DIRECT;
    }
    constexpr std::size_t items = 200;
    const unique_fd file = scratch_file(flags);
    const pages from{items * 4096};
    const std::vector<std::byte> random = content(3, from.bytes().size());
    std::ranges::copy(random, from.bytes().begin());
    transfer write = transfer::write(file.get(), 0, from.bytes());
    w.run(write);

    reading work{file.get(), items};
    work.left_out = 17;
    w.run(w.disk->run(items, work));
    for (std::size_t i = 0; i < items; ++i) {
        CHECK(work.begun[i] == 1);
        CHECK(work.ended[i] == (i == 17 ? 0 : 1));
        if (i != 17)
            CHECK(std::ranges::equal(work.bytes(i), from.bytes().subspan(i * 4096, 4096)));
    }
    CHECK(work.moved == (items - 1) * 4096);

    reading none{file.get(), 1};
    w.run(w.disk->run(0, none));
    CHECK(none.begun[0] == 0);
}

TEST_CASE_TEMPLATE("disk_io: what a staged item throws ends the batch, after those that were begun", Backend, on_ring,
                   on_threads)
{
    world<Backend> w{1}; // two would race: the other may be through before the first has thrown
    const unique_fd file = scratch_file(O_DIRECT);
    reading work{file.get(), 500};
    work.throws = 20;
    CHECK_THROWS_WITH_AS(w.run(w.disk->run(500, work)), "no", std::runtime_error);
    int begun = 0;
    for (std::size_t i = 0; i < 500; ++i) {
        begun += work.begun[i];
        CHECK(work.ended[i] == (i == 20 ? 0 : work.begun[i].load()));
    }
    CHECK(begun < 500);
}

TEST_CASE_TEMPLATE("disk_io: cancelled, it waits for what was begun and leaves out the rest", Backend, on_ring,
                   on_threads)
{
    world<Backend> w{1, 1};
    const unique_fd file = scratch_file();
    std::vector<std::byte> memory(3 * 4096);
    std::vector<transfer> reads;
    for (std::size_t i = 0; i < 3; ++i)
        reads.push_back(transfer::read(file.get(), 0, std::span{memory}.subspan(i * 4096, 4096)));
    for (int handlers = 0; handlers < 6; ++handlers) {
        for (transfer& t : reads)
            t = transfer::read(file.get(), 0, std::span{memory}.first(4096));
        w.start(w.disk->run(reads));
        w.context.restart();
        for (int i = 0; i < handlers && !w.ended; ++i)
            w.context.run_one();
        if (!w.ended)
            w.cancel.emit(asio::cancellation_type::terminal);
        w.finish();
        for (const transfer& t : reads)
            CHECK((!t.error() || t.error() == asio::error::operation_aborted));
        if (handlers == 0 && std::is_same_v<Backend, on_ring>) // threads may be through by then
            CHECK(reads.back().error() == asio::error::operation_aborted);
    }
}

TEST_CASE("disk_io: what is in the kernel cannot be called back")
{
    world<on_ring> w{1, 1};
    if (w.disk->backend() != "io_uring") {
        MESSAGE("skipped: the kernel refuses io_uring");
        return;
    }
    const pipe_ends pipe; // a read that lasts as long as the test wants; threads cannot: preadv refuses a pipe
    std::vector<std::byte> memory(2 * 10);
    std::vector<transfer> reads{transfer::read(pipe.reader.get(), 0, std::span{memory}.first(10)),
                                transfer::read(pipe.reader.get(), 0, std::span{memory}.last(10))};
    const std::string text = "0123456789";
    w.start(w.disk->run(reads));
    w.context.poll();

    SUBCASE("cancelled, the call ends with it, and with the one in line left out")
    {
        w.cancel.emit(asio::cancellation_type::terminal);
        w.context.poll();
        CHECK(!w.ended);
        REQUIRE(::write(pipe.writer.get(), text.data(), 4) == 4); // a short read: what was begun goes on to its end
        w.context.poll();
        REQUIRE(::write(pipe.writer.get(), text.data() + 4, 6) == 6);
        w.finish();
    }
    SUBCASE("closed, so does that")
    {
        bool closed = false;
        asio::co_spawn(w.context, w.disk->close(), [&](std::exception_ptr) { closed = true; });
        w.context.poll();
        CHECK(!closed);
        REQUIRE(::write(pipe.writer.get(), text.data(), 10) == 10);
        w.finish();
        CHECK(closed);
    }
    SUBCASE("destroyed, it waits in the calling thread")
    {
        std::jthread later{[&] { CHECK(::write(pipe.writer.get(), text.data(), 10) == 10); }};
        w.disk.reset();
        CHECK(std::to_integer<char>(memory[9]) == '9');
        w.finish();
    }
    CHECK(!reads[0].error());
    CHECK(reads[0].bytes() == 10);
    CHECK(std::to_integer<char>(memory[9]) == '9');
    CHECK(reads[1].error() == asio::error::operation_aborted);
}

TEST_CASE("disk_io: no more bytes are in flight than were said, and no fewer than one call's")
{
    world<on_ring> w;
    if (w.disk->backend() != "io_uring") {
        MESSAGE("skipped: the kernel refuses io_uring");
        return;
    }
    w.options.in_flight_bytes = 25;
    w.disk = disk_io::make(w.options);
    const pipe_ends pipe;
    std::vector<std::byte> memory(100);
    std::vector<transfer> reads; // one byte each satisfies a pipe's reader, but not its transfer
    for (std::size_t i = 0; i < 3; ++i)
        reads.push_back(transfer::read(pipe.reader.get(), 0, std::span{memory}.subspan(i * 10, 10)));
    reads.push_back(transfer::read(pipe.reader.get(), 0, std::span{memory}.subspan(30, 70)));
    w.start(w.disk->run(reads));
    w.context.poll();
    w.cancel.emit(asio::cancellation_type::terminal); // what is in the kernel now is all there will be
    REQUIRE(::write(pipe.writer.get(), std::string(100, 'x').data(), 100) == 100);
    w.finish();
    CHECK(reads[0].bytes() == 10);
    CHECK(reads[1].bytes() == 10);
    CHECK(reads[2].error() == asio::error::operation_aborted);
    CHECK(reads[3].error() == asio::error::operation_aborted);

    std::vector<std::byte> large(100);
    transfer t = transfer::read(pipe.reader.get(), 0, large);
    REQUIRE(::write(pipe.writer.get(), std::string(20, 'x').data(), 20) == 20);
    w.run(t);
    CHECK(t.bytes() == 100);
}

TEST_CASE_TEMPLATE("disk_io: closing and stopping wait for what was begun", Backend, on_ring, on_threads)
{
    enum class ending { closed, stopped, destroyed, destroyed_with_its_executor };
    const unique_fd file = scratch_file(O_DIRECT);
    REQUIRE(::ftruncate(file.get(), 4 << 20) == 0);
    for (const ending how : {ending::closed, ending::stopped, ending::destroyed, ending::destroyed_with_its_executor})
        for (int handlers = 1; handlers < 30; handlers += 3) {
            auto work = std::make_unique<reading>(file.get(), 1000);
            {
                world<Backend> w{2, 2};
                w.start(w.disk->run(1000, *work));
                for (int i = 0; i < handlers && !w.ended; ++i)
                    w.context.run_one();
                switch (how) {
                case ending::closed: {
                    bool closed = false;
                    asio::co_spawn(w.context, w.disk->close(), [&](std::exception_ptr) { closed = true; });
                    w.finish();
                    CHECK(closed);
                    break;
                }
                case ending::stopped:
                    w.disk->stop();
                    w.finish();
                    break;
                case ending::destroyed:
                    w.disk.reset();
                    work->memory = pages{4096}; // nobody touches the old one: the sanitizers would see it
                    w.finish();
                    break;
                case ending::destroyed_with_its_executor:
                    w.disk.reset();
                    break;
                }
            }
            int ended = 0;
            for (std::size_t i = 0; i < 1000; ++i)
                ended += work->begun[i] == work->ended[i] ? 1 : 0;
            CHECK(ended == 1000);
        }
}

TEST_CASE_TEMPLATE("disk_io: many batches at once all end, with few of their items open at a time", Backend, on_ring,
                   on_threads)
{
    world<Backend> w{3, 2};
    const unique_fd file = scratch_file(O_DIRECT);
    REQUIRE(::ftruncate(file.get(), 1 << 20) == 0);
    std::vector<std::unique_ptr<reading>> works;
    int ended = 0;
    for (std::size_t i = 0; i < 40; ++i) {
        works.push_back(std::make_unique<reading>(file.get(), 1 + i));
        asio::co_spawn(w.context, w.disk->run(1 + i, *works.back()), [&](std::exception_ptr) { ++ended; });
    }
    w.context.run();
    CHECK(ended == 40);
    for (const auto& work : works) {
        CHECK(work->moved == work->ended.size() * 4096);
        CHECK(work->most_open <= 5); // the depth and the threads
    }
}

TEST_CASE_TEMPLATE("disk_io: it serves one executor after another", Backend, on_ring, on_threads)
{
    std::array<asio::io_context, 3> contexts; // outlive the threads, which may still be on their way out of a post
    world<Backend> w;
    const unique_fd file = scratch_file();
    std::vector<std::byte> memory(4096);
    for (asio::io_context& context : contexts) {
        transfer t = transfer::write(file.get(), 0, memory);
        asio::co_spawn(context, w.disk->run(std::span{&t, 1}), [](std::exception_ptr) {});
        context.run();
        CHECK(!t.error());
    }
}

TEST_CASE("disk_io: options that cannot be are refused")
{
    disk_io_options options;
    SUBCASE("no depth")
    {
        options.depth = 0;
    }
    SUBCASE("too deep")
    {
        options.depth = 4097;
    }
    SUBCASE("no thread")
    {
        options.threads = 0;
    }
    CHECK_THROWS_AS((void)disk_io::make(options), std::invalid_argument);
    CHECK_THROWS_AS((void)terrace::io::parse_io_backend("libaio"), std::invalid_argument);
    CHECK(disk_io::make({})->backend() != "");
}
