#pragma once

#include "support/paged_memory.hpp"
#include "support/scripted_backend.hpp"
#include "support/world.hpp"

#include <terrace/cuda/device_prefetch.hpp>
#include <terrace/cuda/transfer_engine.hpp>

namespace terrace::test {

/// A world with a device whose jobs end when the test says so. An object has as many bytes as the world's objects.
struct device_world {
    explicit device_world(cuda::transfer_limits limits = {}, world_options options = {})
        : w{std::move(options)},
          engine{w.io.get_executor(), backend, limits}
    {
        CHECK(objects.size_bytes(tensors.shape) == object_bytes);
    }
    ~device_world()
    {
        backend->at_once = true; // so that whatever a test left hanging can end
        while (!backend->line.empty())
            backend->end();
        w.settle();
    }

    /// Ends what the device has begun and what it begins then.
    void run_device()
    {
        while (!backend->line.empty()) {
            backend->end();
            w.settle();
        }
    }
    /// Chunk i in pages of its own.
    [[nodiscard]] std::vector<cuda::paged_chunk> chunks(std::size_t n) const
    {
        std::vector<cuda::paged_chunk> result;
        for (std::uint32_t i = 0; i < n; ++i)
            result.emplace_back(std::vector{2 * i + 1, 2 * i});
        return result;
    }
    /// The lease's objects, which are resident.
    [[nodiscard]] read_lease read(std::string_view words) { return w.manager.read(keys(words)); }
    [[nodiscard]] cuda::scatter_request scatter(std::string_view words)
    {
        auto lease = read(words);
        auto places = chunks(lease.size());
        return {std::move(lease), pages.layout(), objects, std::move(places)};
    }
    [[nodiscard]] cuda::gather_request gather(std::string_view words)
    {
        auto lease = w.manager.reserve_write(keys(words), w.layout);
        auto places = chunks(lease.size());
        return {std::move(lease), pages.layout(), objects, std::move(places)};
    }
    /// Adds an object to what the pages should hold.
    void expect_scattered(std::string_view word, std::size_t chunk)
    {
        pages.expect_scattered(objects, chunks(chunk + 1).back(), {0, tensors.shape.layers}, payload(key(word)));
    }

    std::mt19937_64 random{1};
    world w;
    std::shared_ptr<scripted_backend> backend = std::make_shared<scripted_backend>();
    engine_tensors tensors{"",
                           {4, 2, 16, 8, 2, 8, dtype::bf16},
                           {cuda::axis::layer, cuda::axis::kv, cuda::axis::page, cuda::axis::token, cuda::axis::head,
                            cuda::axis::element}};
    cuda::object_layout objects{16};
    paged_memory pages{*backend, tensors, random};
    cuda::transfer_engine engine;
};

} // namespace terrace::test
