#include "l1/l1_cache.hpp"
#include "support/recording_hook.hpp"
#include "support/units.hpp"
#include "support/world.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/detached.hpp>
#include <iostream>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace terrace;
using namespace terrace::test;

namespace {

using on_shortage = l1_cache::on_shortage;

/// What the flows are told.
struct recording_listener : l1_listener {
    void on_commit(read_lease, write_mode) noexcept override {}
    void on_wanted(read_lease, write_mode) noexcept override {}
    void on_room() noexcept override { ++rooms; }
    void on_pressure() noexcept override { ++pressures; }
    int rooms = 0;
    int pressures = 0;
};

/// An L1 of 8 MiB that starts with 2 and grows by 2, for objects of 1 MiB.
struct growing_l1 {
    explicit growing_l1(std::uint64_t capacity_bytes = 8 * mib, std::uint64_t high_watermark_bytes = 8 * mib)
    {
        cfg.capacity_bytes = capacity_bytes;
        cfg.initial_bytes = 2 * mib;
        cfg.slice_bytes = 2 * mib;
        cfg.huge_pages = huge_page_mode::off;
        cfg.hook = hook;
        cache = std::make_shared<l1_cache>(cfg, eviction_policy::make("lru"), high_watermark_bytes);
        cache->listen(listener);
    }
    ~growing_l1() { cache->check(); }

    std::optional<write_lease> reserve(std::string_view words, on_shortage shortage = on_shortage::keep_leading,
                                       std::uint64_t bytes = mib)
    {
        return cache->reserve_write(keys(words), memory_layout::bytes(bytes), write_mode::new_only, shortage);
    }
    void write(std::string_view words)
    {
        auto lease = reserve(words);
        for (std::size_t i = 0; i < lease->size(); ++i)
            if (lease->ok(i) == l1_error::none)
                std::ranges::fill(lease->bytes(i), std::byte{1});
        lease->commit();
    }
    bool has(std::string_view words) { return cache->read(keys(words), 1).size() == keys(words).size(); }
    l1_status status() const { return cache->status(); }

    l1_config cfg;
    std::shared_ptr<recording_hook> hook = std::make_shared<recording_hook>();
    std::shared_ptr<recording_listener> listener = std::make_shared<recording_listener>();
    std::shared_ptr<l1_cache> cache;
};

/// A process that maps L1's file, as a client does, and says of the objects it is told of whether their bytes are 'x'.
class client_process {
public:
    client_process(int file, std::size_t bytes)
    {
        REQUIRE(::pipe(questions_.data()) == 0);
        REQUIRE(::pipe(answers_.data()) == 0);
        std::cout.flush(); // else the thread sanitizer has the child write what is in it too
        child_ = ::fork();
        REQUIRE(child_ != -1);
        if (child_ == 0)
            serve(file, bytes);
    }
    ~client_process()
    {
        ::close(questions_[1]);
        int status = 0;
        CHECK(::waitpid(child_, &status, 0) == child_);
        CHECK(status == 0);
        for (const int fd : {questions_[0], answers_[0], answers_[1]})
            ::close(fd);
    }
    client_process(const client_process&) = delete;
    client_process& operator=(const client_process&) = delete;

    bool sees_x(std::uint64_t offset, std::uint64_t bytes)
    {
        const question q{offset, bytes};
        REQUIRE(::write(questions_[1], &q, sizeof q) == sizeof q);
        bool answer = false;
        REQUIRE(::read(answers_[0], &answer, sizeof answer) == sizeof answer);
        return answer;
    }

private:
    struct question {
        std::uint64_t offset;
        std::uint64_t bytes;
    };
    [[noreturn]] void serve(int file, std::size_t bytes) const
    {
        ::close(questions_[1]);
        void* mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0);
        if (mapped == MAP_FAILED)
            ::_exit(1);
        const auto* memory = static_cast<const char*>(mapped);
        question q{};
        while (::read(questions_[0], &q, sizeof q) == sizeof q) {
            const std::string_view object{memory + q.offset, q.bytes};
            const bool answer = object.find_first_not_of('x') == object.npos;
            if (::write(answers_[1], &answer, sizeof answer) != sizeof answer)
                ::_exit(2);
        }
        ::_exit(0);
    }
    std::array<int, 2> questions_{};
    std::array<int, 2> answers_{};
    ::pid_t child_ = -1;
};

} // namespace

TEST_CASE("L1 memory: another process that maps its file sees an object's bytes at the object's offset")
{
    asio::io_context io{1};
    config cfg;
    cfg.l1.capacity_bytes = 8 * mib;
    cfg.l1.initial_bytes = 2 * mib;
    cfg.l1.slice_bytes = 2 * mib;
    cfg.l1.sharing = l1_sharing::memfd;
    storage_manager manager{io.get_executor(), cfg};
    const l1_memory memory = manager.l1_memory();
    CHECK(memory.base().size() == 8 * mib);
    REQUIRE(memory.fd() >= 0);
    client_process client{memory.fd(), memory.base().size()};
    const auto write = [&](std::string_view words, std::uint64_t bytes) {
        auto lease = manager.reserve_write(keys(words), memory_layout::bytes(bytes));
        for (std::size_t i = 0; i < lease.size(); ++i)
            std::ranges::fill(lease.bytes(i), std::byte{'x'});
        lease.commit();
        return manager.read(keys(words));
    };
    const auto small = write("a b", 100);
    for (std::size_t i = 0; i < small.size(); ++i)
        CHECK(client.sees_x(memory.offset_of(small.bytes(i)), 100));
    CHECK_FALSE(client.sees_x(memory.offset_of(small.bytes(1)), 101)); // else it would see x everywhere

    const auto grown = write("c", 3 * mib); // after the client has mapped it
    CHECK(manager.status().l1.grown_bytes > 2 * mib);
    CHECK(client.sees_x(memory.offset_of(grown.bytes(0)), 3 * mib));
}

TEST_CASE("L1 memory: only what lies in it has an offset")
{
    growing_l1 l1;
    const l1_memory memory = l1.cache->memory();
    CHECK(memory.fd() == -1);
    CHECK(memory.offset_of(memory.base()) == 0);
    CHECK(memory.offset_of(memory.base().last(1)) == 8 * mib - 1);
    const std::array<std::byte, 8> elsewhere{};
    CHECK_THROWS_WITH_AS((void)memory.offset_of(elsewhere), doctest::Contains("offset_of: 8 bytes at"),
                         std::invalid_argument);
    const std::span beyond{memory.base().data() + 8 * mib - 1, 2};
    CHECK_THROWS_WITH_AS((void)memory.offset_of(beyond), doctest::Contains("expected bytes of L1"),
                         std::invalid_argument);
}

TEST_CASE("L1 memory: it grows before anything is evicted, and only as far as needed")
{
    growing_l1 l1;
    CHECK(l1.status().capacity_bytes == 8 * mib);
    CHECK(l1.status().grown_bytes == 2 * mib);
    l1.write("a b");
    CHECK(l1.status().grown_bytes == 2 * mib);
    SUBCASE("by a slice")
    {
        l1.write("c");
        CHECK(l1.status().grown_bytes == 4 * mib);
        CHECK(l1.has("a b c"));
    }
    SUBCASE("by as many as a batch needs, and the batch is whole")
    {
        l1.write("c d e");
        CHECK(l1.status().grown_bytes == 6 * mib);
        CHECK(l1.has("a b c d e"));
    }
    SUBCASE("for what is larger than it is, if not than it will be")
    {
        auto lease = l1.reserve("big", on_shortage::keep_leading, 5 * mib);
        CHECK(lease->ok(0) == l1_error::none);
        CHECK(l1.status().grown_bytes == 8 * mib);
        CHECK(l1.reserve("larger", on_shortage::keep_leading, 8 * mib + 1)->ok(0) == l1_error::larger_than_l1);
        CHECK(l1.has("a b"));
    }
    SUBCASE("and once it has grown as far as it can, it evicts")
    {
        l1.write("c d e f g h");
        CHECK(l1.status().grown_bytes == 8 * mib);
        CHECK(l1.status().evicted_objects == 0);
        l1.write("i");
        CHECK(l1.status().evicted_objects == 1);
        CHECK(l1.has("i"));
        CHECK(l1.hook->attached.size() == 4);
        return;
    }
    CHECK(l1.status().evicted_objects == 0);
    CHECK(l1.status().growth_failures == 0);
}

TEST_CASE("L1 memory: a batch that gives up")
{
    growing_l1 l1;
    l1.write("a b");
    SUBCASE("gives up on nothing that fits once it has grown")
    {
        auto lease = l1.reserve("c d e f g h", on_shortage::give_up);
        REQUIRE(lease.has_value());
        CHECK(l1.status().evicted_objects == 0);
        CHECK(l1.status().grown_bytes == 8 * mib);
    }
    SUBCASE("evicts for what still does not fit then")
    {
        auto lease = l1.reserve("c d e f g h i", on_shortage::give_up);
        REQUIRE(lease.has_value());
        CHECK(l1.status().evicted_objects == 1);
    }
    SUBCASE("neither grows nor evicts for what will not fit all the same")
    {
        const auto held = l1.cache->read(keys("a"), 1);
        CHECK_FALSE(l1.reserve("c d e f g h i j", on_shortage::give_up).has_value());
        CHECK(l1.status().grown_bytes == 2 * mib);
        CHECK(l1.status().evicted_objects == 0);
    }
    SUBCASE("goes by what there is while L1 cannot grow")
    {
        l1.hook->most = 1;
        l1.write("c"); // evicts
        const auto held = l1.cache->read(keys("c"), 1);
        const auto before = l1.status();
        CHECK(before.evicted_objects == 1);
        CHECK_FALSE(l1.reserve("d e", on_shortage::give_up).has_value());
        CHECK(l1.status().evicted_objects == 1);
        CHECK(l1.status().staged_bytes == 0);
    }
}

TEST_CASE("L1 memory: a batch of several layouts begins anew once L1 has grown")
{
    growing_l1 l1;
    const std::vector<layout_run> layouts = {{1, memory_layout::bytes(mib / 2)}, {3, memory_layout::bytes(mib)}};
    auto lease = l1.cache->stage_for_load(keys("a b c"), layouts, on_shortage::give_up);
    REQUIRE(lease.has_value());
    CHECK(lease->bytes(0).size() == mib / 2);
    CHECK(lease->bytes(1).size() == mib);
    CHECK(lease->bytes(2).size() == mib);
    CHECK(l1.status().staged_objects == 3);
    CHECK(l1.status().grown_bytes == 4 * mib);
}

TEST_CASE("L1 memory: the high watermark is a share of what it can grow to")
{
    growing_l1 l1{8 * mib, 6 * mib};
    l1.write("a b c d e f");
    CHECK(l1.status().grown_bytes == 6 * mib);
    CHECK(l1.listener->pressures == 0);
    l1.write("g");
    CHECK(l1.listener->pressures == 1);
}

TEST_CASE("L1 memory: where it cannot grow, it goes on with what it has")
{
    growing_l1 l1;
    l1.hook->most = 2;
    l1.write("a b c d");
    CHECK(l1.status().growth_failures == 0);
    l1.write("e");
    CHECK(l1.has("e"));
    CHECK(l1.status().growth_failures == 1);
    CHECK(l1.status().grown_bytes == 4 * mib);
    CHECK(l1.status().evicted_objects == 1);
    CHECK(l1.hook->attempts == 3);

    SUBCASE("it tries again after 2, 4, 8, ... shortages, the one that failed being the first")
    {
        std::vector<std::size_t> tries; // after how many shortages
        for (std::size_t shortage = 1; shortage <= 40; ++shortage) {
            const auto before = l1.hook->attempts;
            l1.write("x" + std::to_string(shortage));
            if (l1.hook->attempts != before)
                tries.push_back(shortage);
        }
        CHECK(tries == std::vector<std::size_t>{2, 2 + 4, 2 + 4 + 8, 2 + 4 + 8 + 16});
        CHECK(l1.status().growth_failures == 5);
    }
    SUBCASE("and then it may succeed")
    {
        l1.hook->most = SIZE_MAX;
        l1.write("f");
        l1.cache->ask_for_room();
        const int rooms = l1.listener->rooms;
        auto lease = l1.reserve("g");
        CHECK(l1.listener->rooms == rooms + 1); // whoever waits can have a part of it
        CHECK(l1.status().grown_bytes == 6 * mib);
        CHECK(l1.status().evicted_objects == 2);
        CHECK(l1.status().growth_failures == 1);
    }
    SUBCASE("nothing is evicted for an object that is larger than that")
    {
        CHECK(l1.reserve("big", on_shortage::keep_leading, 5 * mib)->ok(0) == l1_error::out_of_memory);
        CHECK(l1.status().evicted_objects == 1);
    }
    SUBCASE("keys that came before the shortage are kept")
    {
        const auto held = l1.cache->read(keys("e"), 1);
        auto lease = l1.reserve("p q r s");
        CHECK(lease->ok(2) == l1_error::none);
        CHECK(lease->ok(3) == l1_error::out_of_memory);
    }
}

TEST_CASE("L1 memory: threads that reserve while it grows lose nothing, and evict nothing")
{
    constexpr int threads = 3;
    constexpr int batches = 8;
    growing_l1 l1{threads * batches * 3 * mib, threads * batches * 3 * mib};
    {
        std::vector<std::jthread> writers;
        for (int t = 0; t < threads; ++t)
            writers.emplace_back([&l1, t] {
                for (int b = 0; b < batches; ++b) {
                    const std::string name = std::to_string(t) + "-" + std::to_string(b);
                    auto lease = l1.reserve(name + "x " + name + "y " + name + "z", on_shortage::give_up);
                    for (std::size_t i = 0; lease && i < lease->size(); ++i)
                        std::ranges::fill(lease->bytes(i).first(4096), std::byte{1});
                    if (lease)
                        lease->commit();
                }
            });
    }
    CHECK(l1.status().resident_objects == threads * batches * 3);
    CHECK(l1.status().grown_bytes == l1.status().capacity_bytes);
    CHECK(l1.status().evicted_objects == 0);
    CHECK(l1.status().out_of_memory == 0);
}

TEST_CASE("L1 memory: threads that find no room while growing fails ask the hook once between them")
{
    growing_l1 l1;
    l1.hook->most = 1;
    l1.write("a b");
    {
        std::vector<std::jthread> writers;
        for (const char* name : {"c", "d"})
            writers.emplace_back([&l1, name] { l1.write(name); });
    }
    CHECK(l1.hook->attempts == 2); // the first of all, and one that failed
    CHECK(l1.status().growth_failures == 1);
    CHECK(l1.has("c d"));
}

TEST_CASE("L1 memory: objects lie at multiples of the alignment")
{
    l1_config cfg;
    cfg.capacity_bytes = 2 * mib;
    SUBCASE("of 4 KiB, if nothing else is asked for")
    {
        CHECK(cfg.alignment_bytes == 4096);
    }
    SUBCASE("of 64 bytes on request")
    {
        cfg.alignment_bytes = 64;
    }
    auto cache = std::make_shared<l1_cache>(cfg, eviction_policy::make("lru"), cfg.capacity_bytes);
    const auto lease = *cache->reserve_write(keys("a b c"), memory_layout::bytes(100), write_mode::new_only,
                                             on_shortage::keep_leading);
    for (std::size_t i = 0; i < lease.size(); ++i)
        CHECK(reinterpret_cast<std::uintptr_t>(lease.bytes(i).data()) % cfg.alignment_bytes == 0);
    const std::uint64_t used = cfg.alignment_bytes == 64 ? 128 : 4096;
    CHECK(cache->status().used_bytes == 3 * used);
}

TEST_CASE("L1 memory: the hook lets go of it after the end of the manager and of the last lease")
{
    auto hook = std::make_shared<recording_hook>();
    asio::io_context io{1};
    read_lease last;
    {
        config cfg;
        cfg.l1.capacity_bytes = 4 * mib;
        cfg.l1.slice_bytes = 2 * mib;
        cfg.l1.hook = hook;
        storage_manager manager{io.get_executor(), std::move(cfg)};
        manager.reserve_write(keys("a"), memory_layout::bytes(4096)).commit();
        last = manager.read(keys("a"));
        asio::co_spawn(io, manager.close(), asio::detached);
        io.run();
        CHECK(hook->detached.empty());
    }
    io.restart();
    io.run();
    CHECK(hook->detached.empty());
    CHECK(last.bytes(0).size() == 4096);
    last = {};
    CHECK(hook->attached.size() == 2);
    CHECK(hook->all_detached_in_reverse());
}

TEST_CASE("L1 memory: what cannot be configured is refused with the value and what was expected")
{
    asio::io_context io;
    const auto refused = [&](auto change, const char* why) {
        config cfg;
        cfg.l1.capacity_bytes = 4 * mib;
        change(cfg.l1);
        CHECK_THROWS_WITH_AS(storage_manager(io.get_executor(), cfg), doctest::Contains(why), std::invalid_argument);
    };
    refused([](l1_config& l1) { l1.initial_bytes = 4 * mib + 1; },
            "l1.initial_bytes is 4194305; expected 0 for all, or at most l1.capacity_bytes, which is 4194304");
    refused([](l1_config& l1) { l1.slice_bytes = 0; }, "l1.slice_bytes is 0; expected 1 to 2^47");
    refused([](l1_config& l1) { l1.slice_bytes = UINT64_MAX; }, "l1.slice_bytes is 18446744073709551615");
    refused([](l1_config& l1) { l1.prefault_threads = 257; }, "l1.prefault_threads is 257; expected 0 for as many");
    refused([](l1_config& l1) { l1.numa_node = 1024; }, "l1.numa_node is 1024; expected the number of a NUMA node");
}
