// The kernels' arithmetic, on the host: what a launch says, every unit of it, moved one by one.

#include "../../../lib/cuda/src/launch_plan.hpp"
#include "support/paged_memory.hpp"

#include <algorithm>
#include <cstring>
#include <doctest/doctest.h>

using namespace terrace;
using namespace terrace::test;
using cuda::direction;
using cuda::object_layout;
using cuda::object_order;
using cuda::paged_chunk;
using cuda::detail::kernel_launch;
using cuda::detail::plan_mapped;
using cuda::detail::plan_staged;
using cuda::detail::planned_launch;

namespace {

template <class T>
T* pointer_to(std::uint64_t address)
{
    return reinterpret_cast<T*>(static_cast<std::uintptr_t>(address));
}

void run_as_a_kernel(const kernel_launch& l, direction way, std::uint64_t buffer)
{
    REQUIRE(l.slices <= kernel_launch::max_slices);
    REQUIRE(l.planes <= kernel_launch::max_planes);
    bool aligned = true;
    for (std::uint32_t i = 0; i < l.slices; ++i)
        for (std::uint32_t u = 0; u < units_of(l, l.slice[i]); ++u) {
            const auto place = locate(l, l.slice[i], u);
            auto* const device = pointer_to<std::byte>(place.device);
            auto* const object = pointer_to<std::byte>(l.slice[i].object + buffer + place.object);
            aligned = aligned && (place.device | reinterpret_cast<std::uintptr_t>(object)) % l.unit_bytes == 0;
            std::memcpy(way == direction::gather ? object : device, way == direction::gather ? device : object,
                        l.unit_bytes);
        }
    REQUIRE(aligned);
}

void move_mapped(const cuda::transfer_job& job)
{
    for (const planned_launch& planned : plan_mapped(job))
        run_as_a_kernel(planned.launch, job.way, 0);
}

/// The buffer is poisoned before each launch, as another may have used it.
void move_staged(const cuda::transfer_job& job, std::uint64_t buffer_bytes)
{
    const auto all = plan_staged(job, buffer_bytes);
    REQUIRE_FALSE(all.empty());
    const auto buffer = plain_memory(buffer_bytes);
    for (const planned_launch& planned : all) {
        std::memset(buffer.get(), 0x5a, buffer_bytes);
        const auto address = reinterpret_cast<std::uintptr_t>(buffer.get());
        if (job.way == direction::gather)
            run_as_a_kernel(planned.launch, job.way, address);
        for (const auto& copy : planned.copies) {
            REQUIRE(copy.staged + copy.bytes <= buffer_bytes);
            std::byte* const staged = buffer.get() + copy.staged;
            std::memcpy(job.way == direction::gather ? copy.object : staged,
                        job.way == direction::gather ? staged : copy.object, copy.bytes);
        }
        if (job.way == direction::scatter)
            run_as_a_kernel(planned.launch, job.way, address);
    }
}

/// The most that one layer of an object of four pages takes.
std::uint64_t least_buffer(const engine_tensors& engine)
{
    return 4 * engine.shape.page_tokens * engine.shape.kv * engine.shape.token_bytes();
}

/// Many objects in one job, of which each has its own place in pages that are in order.
struct object_batch {
    object_batch(std::uint32_t objects, std::uint32_t object_tokens, const cuda::page_shape& shape)
        : layout{object_tokens},
          bytes{layout.size_bytes(shape)},
          memory{plain_memory(objects * bytes)}
    {
        const std::uint32_t pages = object_tokens / shape.page_tokens;
        for (std::uint32_t i = 0; i < objects; ++i) {
            std::vector<std::uint32_t> ids;
            for (std::uint32_t p = 0; p < pages; ++p)
                ids.push_back(i * pages + p);
            chunks.emplace_back(ids);
        }
    }
    [[nodiscard]] cuda::transfer_job job(const cuda::page_layout& pages)
    {
        cuda::transfer_job result{direction::gather, pages, layout, {0, pages.shape().layers}, {}};
        for (std::size_t i = 0; i < chunks.size(); ++i)
            result.items.push_back({memory.get() + i * bytes, &chunks[i]});
        return result;
    }
    object_layout layout;
    std::size_t bytes;
    std::shared_ptr<std::byte> memory;
    std::vector<paged_chunk> chunks;
};

} // namespace

TEST_CASE("launches: a kernel over mapped memory moves every layout")
{
    std::mt19937_64 random{3};
    const auto memory = cuda::make_cpu_backend();
    for (const engine_tensors& engine : engines())
        check_all_round_trips(*memory, move_mapped, engine, random);
}

TEST_CASE("launches: a kernel and a staging buffer move every layout, however small the buffer")
{
    std::mt19937_64 random{4};
    const auto memory = cuda::make_cpu_backend();
    for (const engine_tensors& engine : engines())
        for (const std::uint64_t buffer : {least_buffer(engine), 3 * least_buffer(engine)})
            check_all_round_trips(
                *memory, [&](const cuda::transfer_job& job) { move_staged(job, buffer); }, engine, random);
}

TEST_CASE("launches: objects share a launch as far as its arrays and the buffer go")
{
    std::mt19937_64 random{5};
    const auto memory = cuda::make_cpu_backend();
    const cuda::page_shape shape{2, 2, 4096, 1, 1, 8, dtype::f8_e4m3};
    const engine_tensors engine{"",
                                shape,
                                {cuda::axis::layer, cuda::axis::kv, cuda::axis::page, cuda::axis::token,
                                 cuda::axis::head, cuda::axis::element}};
    const cuda::page_layout pages = paged_memory{*memory, engine, random}.layout();

    CHECK(plan_mapped(object_batch{9, 16, shape}.job(pages)).size() == 2);   // 8 objects, and 1
    CHECK(plan_mapped(object_batch{8, 128, shape}.job(pages)).size() == 2);  // 512 pages each
    CHECK(plan_mapped(object_batch{2, 1024, shape}.job(pages)).size() == 4); // an object of two launches
    object_batch some{8, 64, shape};
    CHECK(some.bytes == 2048);
    CHECK(plan_staged(some.job(pages), 4 * some.bytes).size() == 2);
    CHECK(plan_staged(some.job(pages), some.bytes / 2).size() == 16); // one layer at a time
    CHECK(plan_staged(some.job(pages), some.bytes / 2 - 1).empty());  // not even that
}

TEST_CASE("launches: what lies together is moved in units as large as its alignment lets")
{
    std::mt19937_64 random{6};
    const auto memory = cuda::make_cpu_backend();
    const auto unit = [&](std::uint32_t head_dim, dtype type, const std::vector<cuda::axis>& order) {
        const engine_tensors engine{"", {2, 2, 8, 4, 2, head_dim, type}, order};
        const paged_memory tensors{*memory, engine, random};
        const auto launches = plan_mapped(object_batch{1, 8, engine.shape}.job(tensors.layout()));
        REQUIRE(launches.size() == 1);
        return std::pair{launches[0].launch.unit_bytes, launches[0].launch.units};
    };
    using enum cuda::axis;
    const std::vector<cuda::axis> plain{layer, kv, page, token, head, element};
    using units = std::pair<std::uint32_t, std::uint32_t>;
    CHECK(unit(128, dtype::bf16, plain) == units{16, 32}); // both heads together
    CHECK(unit(128, dtype::bf16, {layer, kv, page, head, token, element}) == units{16, 16});
    CHECK(unit(6, dtype::bf16, plain) == units{4, 6});
    CHECK(unit(7, dtype::f8_e4m3, plain) == units{1, 14});
    CHECK(unit(128, dtype::bf16, {layer, kv, page, head, element, token}) == units{2, 128});
}
