#include "support/recording_hook.hpp"
#include "support/world.hpp"

#include <doctest/doctest.h>

#include <terrace/cuda/device.hpp>
#include <terrace/cuda/pinned_memory.hpp>

using namespace terrace;
using namespace terrace::test;
using cuda::pin_failure;
using cuda::pinned_memory;

namespace {

/// Locks what it is given, until the test says no more.
struct fake_locker final : cuda::page_locker {
    void lock(std::span<std::byte> memory) override { record.attach(memory); }
    void unlock(std::span<std::byte> memory) noexcept override { record.detach(memory); }
    recording_hook record;
};

constexpr std::uint64_t slice_bytes = 2 << 20;

/// An engine whose L1 of four slices begins with one.
std::unique_ptr<storage_manager> pinned_manager(asio::io_context& io, std::shared_ptr<pinned_memory> hook)
{
    config c;
    c.l1.capacity_bytes = 4 * slice_bytes;
    c.l1.initial_bytes = slice_bytes;
    c.l1.slice_bytes = slice_bytes;
    c.l1.hook = std::move(hook);
    return std::make_unique<storage_manager>(io.get_executor(), c);
}

} // namespace

TEST_CASE("pinned memory: L1 is pinned slice by slice as it grows, and let go after its last lease")
{
    asio::io_context io;
    const auto locker = std::make_shared<fake_locker>();
    const auto pinned = std::make_shared<pinned_memory>(pin_failure::refuse, locker);
    auto manager = pinned_manager(io, pinned);
    CHECK(pinned->status().pinned_bytes == slice_bytes);

    auto lease = manager->reserve_write(keys("a b"), memory_layout::bytes(slice_bytes)); // more than there is yet
    REQUIRE(lease.leading() == 2);
    CHECK(pinned->status().pinned_slices == 2);
    CHECK(pinned->is_pinned(lease.bytes(1)));
    CHECK_FALSE(pinned->is_pinned({lease.bytes(1).data(), 4 * slice_bytes})); // beyond what there is
    manager.reset();
    CHECK(locker->record.detached.empty());
    lease = {};
    io.run();
    CHECK(locker->record.all_detached_in_reverse());
    CHECK(pinned->status().pinned_bytes == 0);
}

TEST_CASE("pinned memory: what cannot be pinned is an error, at the start and when L1 grows")
{
    asio::io_context io;
    const auto locker = std::make_shared<fake_locker>();
    const auto pinned = std::make_shared<pinned_memory>(pin_failure::refuse, locker);
    locker->record.most = 0;
    CHECK_THROWS_WITH(pinned_manager(io, pinned),
                      "a slice of L1 could not be pinned: the device has no room for another slice");
    CHECK(pinned->status().unpinned_slices == 0);

    locker->record.most = 1;
    auto manager = pinned_manager(io, pinned);
    CHECK(manager->reserve_write(keys("a b"), memory_layout::bytes(slice_bytes)).leading() == 1);
    CHECK(manager->status().l1.growth_failures > 0);
    CHECK(pinned->status().last_failure == "the device has no room for another slice");
}

TEST_CASE("pinned memory: where asked for, a slice is used without, and counted")
{
    asio::io_context io;
    const auto locker = std::make_shared<fake_locker>();
    locker->record.most = 1;
    const auto pinned = std::make_shared<pinned_memory>(pin_failure::count, locker);
    auto manager = pinned_manager(io, pinned);
    auto lease = manager->reserve_write(keys("a b c"), memory_layout::bytes(slice_bytes));
    CHECK(lease.leading() == 3);
    CHECK(pinned->status().pinned_slices == 1);
    CHECK(pinned->status().unpinned_slices == 2);
    CHECK(pinned->status().unpinned_bytes == 2 * slice_bytes);
    std::size_t pinned_objects = 0;
    for (std::size_t i = 0; i < 3; ++i)
        pinned_objects += pinned->is_pinned(lease.bytes(i)) ? 1U : 0U;
    CHECK(pinned_objects == 1);
    lease = {};
    manager.reset();
    io.run();
    CHECK(locker->record.detached.size() == 1); // what was not pinned is not unpinned
    CHECK(pinned->status().unpinned_bytes == 0);
}

TEST_CASE("pinned memory: it knows where one registration ends and the next begins")
{
    std::vector<std::byte> memory(96);
    const std::span all{memory};
    pinned_memory pinned{pin_failure::refuse, std::make_shared<fake_locker>()};
    pinned.attach(all.subspan(0, 32));
    pinned.attach(all.subspan(32, 32));
    CHECK(pinned.in_one_slice(all.subspan(8, 16)) == 16);
    CHECK(pinned.in_one_slice(all.subspan(8, 40)) == 24);
    CHECK(pinned.in_one_slice(all.subspan(40, 16)) == 16);
    CHECK(pinned.in_one_slice(all.subspan(64, 32)) == 32); // none of ours
    CHECK(pinned.is_pinned(all.subspan(8, 40)));
    CHECK_FALSE(pinned.is_pinned(all.subspan(40, 40)));
}

TEST_CASE("cuda: without a usable GPU the component says so, and pinning fails or is counted")
{
    const auto reason = cuda::why_no_device(0);
    if (!reason)
        return; // there is one: terrace_gpu_tests has the rest
    CHECK_FALSE(reason->empty());
    if (!cuda::built_with_cuda())
        CHECK(*reason == "Terrace was built without CUDA (TERRACE_CUDA)");
    CHECK_THROWS_WITH_AS((void)cuda::make_cuda_backend(), ("no GPU here: " + *reason).c_str(), std::runtime_error);

    asio::io_context io;
    CHECK_THROWS_AS(pinned_manager(io, std::make_shared<pinned_memory>()), std::runtime_error);
    const auto counted = std::make_shared<pinned_memory>(pin_failure::count);
    auto manager = pinned_manager(io, counted);
    CHECK(counted->status().unpinned_slices == 1);
    CHECK_FALSE(counted->status().last_failure.empty());
}
