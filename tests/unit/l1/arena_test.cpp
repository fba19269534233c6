#include "l1/arena.hpp"
#include "l1/prefault.hpp"
#include "support/recording_hook.hpp"
#include "support/units.hpp"

#include <algorithm>
#include <cerrno>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <fstream>
#include <linux/mempolicy.h>
#include <numeric>
#include <set>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

using namespace terrace;
using terrace::test::mib;
using terrace::test::recording_hook;

namespace {

constexpr std::uint64_t page = 4096;

/// Bytes of the memory that the kernel has pages for.
std::uint64_t present_bytes(std::span<std::byte> memory)
{
    std::vector<unsigned char> pages(memory.size() / page);
    REQUIRE(::mincore(memory.data(), memory.size(), pages.data()) == 0);
    return page * static_cast<std::uint64_t>(std::ranges::count_if(pages, [](unsigned char p) { return p & 1; }));
}

std::span<std::byte> grown(const arena& a)
{
    return {a.data(), a.grown_bytes()};
}

l1_config small(std::uint64_t capacity_bytes)
{
    l1_config cfg;
    cfg.capacity_bytes = capacity_bytes;
    cfg.slice_bytes = 2 * mib;
    return cfg;
}

/// Huge pages that the kernel's pool has left.
std::uint64_t free_in_pool()
{
    std::ifstream file{"/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"};
    std::uint64_t pages = 0;
    file >> pages;
    return pages;
}

} // namespace

TEST_CASE("arena: pages are touched at the start if so configured, by several threads, and progress covers them all")
{
    l1_config cfg = small(41 * mib + page);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> heard;
    std::set<std::thread::id> threads;
    cfg.progress = [&](std::uint64_t done, std::uint64_t total) {
        heard.emplace_back(done, total);
        threads.insert(std::this_thread::get_id());
    };
    SUBCASE("on demand nothing is touched, and there is nothing to tell")
    {
        arena a{cfg};
        CHECK(present_bytes(grown(a)) == 0);
        CHECK(heard.empty());
    }
    SUBCASE("at the start all is")
    {
        cfg.prefault = prefault_mode::at_start;
        SUBCASE("by as many threads as there are cores") {}
        SUBCASE("by one")
        {
            cfg.prefault_threads = 1;
        }
        SUBCASE("by more than there are pieces of work")
        {
            cfg.prefault_threads = 64;
        }
        SUBCASE("in pages of 4 KiB")
        {
            cfg.huge_pages = huge_page_mode::off;
        }
        arena a{cfg};
        CHECK(present_bytes(grown(a)) == a.size_bytes());
        REQUIRE_FALSE(heard.empty());
        CHECK(std::ranges::is_sorted(heard));
        CHECK(std::ranges::all_of(heard, [&](const auto& h) { return h.second == a.size_bytes(); }));
        CHECK(heard.back().first == a.size_bytes());
        CHECK(threads == std::set{std::this_thread::get_id()});
    }
    SUBCASE("progress that throws ends the construction")
    {
        cfg.prefault = prefault_mode::at_start;
        cfg.progress = [](std::uint64_t, std::uint64_t) { throw std::runtime_error("stop"); };
        CHECK_THROWS_WITH_AS(arena{cfg}, "stop", std::runtime_error);
    }
    SUBCASE("of what grows later too")
    {
        cfg.prefault = prefault_mode::at_start;
        cfg.initial_bytes = 1;
        arena a{cfg};
        CHECK(present_bytes(grown(a)) == 2 * mib);
        CHECK(heard.back() == std::pair{2 * mib, 2 * mib});
        const auto told = heard.size();
        CHECK(present_bytes(a.grow()) == 2 * mib);
        CHECK(heard.size() == told); // it is of the start
    }
}

TEST_CASE("prefault: memory that cannot be had is one error, with the bytes and the reason")
{
    const int file = ::memfd_create("too short", MFD_CLOEXEC);
    REQUIRE(file != -1);
    REQUIRE(::ftruncate(file, 20 * mib) == 0);
    void* mapped = ::mmap(nullptr, 64 * mib, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    REQUIRE(mapped != MAP_FAILED);
    const std::span memory{static_cast<std::byte*>(mapped), 64 * mib};
    std::uint64_t told = 0;
    try {
        prefault(memory, 4, [&](std::uint64_t done, std::uint64_t) { told = done; });
        FAIL("the end of the file was passed unnoticed");
    } catch (const std::system_error& e) {
        CHECK(e.code().value() == EFAULT);
        CHECK(std::string{e.what()} == "cannot pre-fault 67108864 bytes of L1: Bad address");
    }
    CHECK(told <= 16 * mib);
    ::munmap(mapped, memory.size());
    ::close(file);
}

TEST_CASE("prefault: kernels without the advice have each page touched by hand")
{
    l1_config cfg = small(4 * mib);
    cfg.huge_pages = huge_page_mode::off;
    arena a{cfg};
    touch_by_hand(grown(a).first(3 * mib));
    CHECK(present_bytes(grown(a)) == 3 * mib);
}

TEST_CASE("arena: reserved huge pages are taken from the pool, and what it cannot give is seen")
{
    l1_config cfg = small(9 * mib);
    cfg.huge_pages = huge_page_mode::reserved;
    const std::uint64_t pool = free_in_pool();
    CAPTURE(pool);
    const bool enough = pool >= 5; // the last is used in part
    std::uint64_t expected = enough ? 9 * mib : 0;
    SUBCASE("private memory takes as many as there are")
    {
        expected = enough ? 9 * mib : pool * 2 * mib;
    }
    SUBCASE("a file takes all or none")
    {
        cfg.sharing = l1_sharing::memfd;
    }
    arena a{cfg};
    CHECK(a.grown_bytes() == 9 * mib);
    CHECK(a.reserved_huge_page_bytes() == expected);
    std::ranges::fill(grown(a), std::byte{7}); // whatever it got, it is memory
}

TEST_CASE("arena: shared memory is a file that never gets shorter, and ends with the arena")
{
    l1_config cfg = small(5 * mib);
    CHECK(arena{cfg}.fd() == -1);
    cfg.sharing = l1_sharing::memfd;
    cfg.initial_bytes = 4 * mib;
    auto hook = std::make_shared<recording_hook>();
    cfg.hook = hook;
    std::optional<arena> a{cfg};
    const int fd = a->fd();
    const auto file_bytes = [&] {
        struct ::stat now {};
        REQUIRE(::fstat(fd, &now) == 0);
        return static_cast<std::uint64_t>(now.st_size);
    };
    const auto seals = [&] { return ::fcntl(fd, F_GET_SEALS); };
    CHECK(file_bytes() == 4 * mib);
    CHECK(seals() == F_SEAL_SHRINK);
    CHECK(::ftruncate(fd, 2 * mib) != 0);

    hook->most = 2;
    CHECK_THROWS_AS(a->grow(), std::runtime_error);
    hook->most = 3;
    a->grow();
    CHECK(file_bytes() == 5 * mib);
    CHECK(seals() == (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
    CHECK(::ftruncate(fd, 6 * mib) != 0);

    a->data()[5 * mib - 1] = std::byte{42};
    std::byte last{};
    CHECK(::pread(fd, &last, 1, 5 * mib - 1) == 1);
    CHECK(last == std::byte{42});
    a.reset();
    CHECK(::fcntl(fd, F_GETFD) == -1);
}

TEST_CASE("arena: bound to a NUMA node")
{
    l1_config cfg = small(4 * mib);
    SUBCASE("that does not exist, it is refused with the node's number")
    {
        cfg.numa_node = 1000;
        CHECK_THROWS_WITH_AS(arena{cfg}, doctest::Contains("cannot bind L1 to NUMA node 1000"), std::system_error);
    }
    SUBCASE("its pages come from there")
    {
        cfg.numa_node = 0;
        cfg.initial_bytes = 1;
        std::optional<arena> a;
        try {
            a.emplace(cfg);
        } catch (const std::system_error& e) {
            if (e.code().value() != ENOSYS && e.code().value() != EPERM)
                throw;
            MESSAGE("skipped: this system lets nobody bind memory to a NUMA node");
            return;
        }
        for (const std::span<std::byte> slice : {grown(*a), a->grow()}) {
            int mode = 0;
            std::array<unsigned long, 16> nodes{};
            REQUIRE(::syscall(SYS_get_mempolicy, &mode, nodes.data(), 1024, slice.data(), MPOL_F_ADDR) == 0);
            CHECK(mode == MPOL_BIND);
            CHECK(nodes[0] == 1);
        }
    }
}

TEST_CASE("arena: it grows by slices, at addresses that never change, and what has not grown is out of reach")
{
    l1_config cfg = small(7 * mib);
    cfg.initial_bytes = 3 * mib;
    cfg.slice_bytes = mib + 1; // rounded up to 2 MiB
    arena a{cfg};
    CHECK(a.size_bytes() == 7 * mib);
    CHECK(a.grown_bytes() == 4 * mib);
    CHECK(reinterpret_cast<std::uintptr_t>(a.data()) % (2 * mib) == 0);
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const auto reachable = [&](std::uint64_t offset) { return ::write(ends[1], a.data() + offset, 1) == 1; };
    CHECK(reachable(4 * mib - 1));
    CHECK_FALSE(reachable(4 * mib));

    const std::byte* data = a.data();
    a.data()[4 * mib - 1] = std::byte{42};
    CHECK(a.grow().size() == 2 * mib);
    CHECK(a.grow().size() == mib); // the rest
    CHECK(a.full());
    CHECK(a.data() == data);
    CHECK(a.data()[4 * mib - 1] == std::byte{42});
    CHECK(reachable(7 * mib - 1));
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("arena: the hook hears of each slice as it becomes usable, and in reverse at the end")
{
    auto hook = std::make_shared<recording_hook>();
    l1_config cfg = small(9 * mib);
    cfg.hook = hook;
    SUBCASE("all of it at the start")
    {
        std::optional<arena> a{cfg};
        CHECK(hook->attached.size() == 5);
        CHECK(hook->attached.front().data() == a->data());
        CHECK(hook->attached.back().size() == mib);
        CHECK(hook->detached.empty());
        a.reset();
        CHECK(hook->all_detached_in_reverse());
    }
    SUBCASE("what grows later")
    {
        cfg.initial_bytes = 4 * mib;
        std::optional<arena> a{cfg};
        CHECK(hook->attached.size() == 2);
        const auto slice = a->grow();
        CHECK(hook->attached.size() == 3);
        CHECK(hook->attached.back().data() == slice.data());
        a.reset();
        CHECK(hook->all_detached_in_reverse());
    }
    SUBCASE("one that refuses a slice at the start ends the construction, and has nothing attached")
    {
        hook->most = 3;
        CHECK_THROWS_WITH_AS(arena{cfg}, doctest::Contains("no room for another slice"), std::runtime_error);
        CHECK(hook->attached.size() == 3);
        CHECK(hook->all_detached_in_reverse());
    }
    SUBCASE("one that refuses a slice later leaves the arena as it was")
    {
        cfg.initial_bytes = 4 * mib;
        hook->most = 2;
        {
            arena a{cfg};
            a.data()[4 * mib - 1] = std::byte{42};
            CHECK_THROWS_AS(a.grow(), std::runtime_error);
            CHECK(a.grown_bytes() == 4 * mib);
            CHECK(a.data()[4 * mib - 1] == std::byte{42});
            hook->most = 3;
            CHECK(a.grow().data() == a.data() + 4 * mib);
        }
        CHECK(hook->all_detached_in_reverse());
    }
    CHECK(hook.use_count() == 2); // this test's and the configuration's
}
