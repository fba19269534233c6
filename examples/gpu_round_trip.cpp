// Lesson 9: a GPU's pages and back. A prompt's KV goes from an engine's pages to L1 and on to L2, leaves L1, and comes
// back into other pages, window by window as it lands. Without a GPU the same program runs on pages in host memory.
//
// Prints whether there is a GPU, how many chunks came back to its pages, and that every byte is as it was.

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <numeric>
#include <random>

#include <terrace/cuda/device.hpp>
#include <terrace/cuda/device_prefetch.hpp>
#include <terrace/cuda/transfer_engine.hpp>
#include <terrace/memory_adapter.hpp>
#include <terrace/terrace.hpp>

namespace asio = boost::asio;
namespace cuda = terrace::cuda;

constexpr std::uint32_t chunk_tokens = 256;
constexpr std::uint32_t chunks = 8;

/// An engine's cache: one tensor [layers][2][pages][page_tokens][heads][head_dim].
constexpr cuda::page_shape shape{
    .layers = 4, .kv = 2, .pages = 512, .page_tokens = 16, .heads = 2, .head_dim = 64, .type = terrace::dtype::bf16};

struct kv_cache {
    explicit kv_cache(cuda::transfer_backend& b) : backend{b}, memory{b.allocate(bytes)} {}

    [[nodiscard]] cuda::page_layout layout() const
    {
        using enum cuda::axis;
        return {shape, {layer, kv, page, token, head, element}, {memory.address()}};
    }
    void fill(std::uint64_t seed)
    {
        std::vector<std::byte> random(bytes);
        std::mt19937_64 generator{seed};
        std::ranges::generate(random, [&] { return static_cast<std::byte>(generator() >> 56); });
        backend.upload(memory.address(), random);
    }
    /// One page of one plane.
    [[nodiscard]] std::span<const std::byte> page(std::uint32_t plane, std::uint32_t page) const
    {
        constexpr std::size_t page_bytes = bytes / shape.planes() / shape.pages;
        return std::span{copy}.subspan((plane * std::size_t{shape.pages} + page) * page_bytes, page_bytes);
    }
    void download()
    {
        copy.resize(bytes);
        backend.download(copy, memory.address());
    }

    static constexpr std::size_t bytes = std::size_t{4} * 2 * 512 * 16 * 2 * 64 * 2;
    cuda::transfer_backend& backend;
    cuda::device_buffer memory;
    std::vector<std::byte> copy;
};

/// The pages of a sequence, in order of its tokens: by chance, as a cache in use would give them.
std::vector<std::uint32_t> page_table(std::uint64_t seed)
{
    std::vector<std::uint32_t> pages(shape.pages);
    std::iota(pages.begin(), pages.end(), 0);
    std::ranges::shuffle(pages, std::mt19937_64{seed});
    pages.resize(chunks * chunk_tokens / shape.page_tokens);
    return pages;
}

std::vector<cuda::paged_chunk> chunks_of(const std::vector<std::uint32_t>& table)
{
    std::vector<cuda::paged_chunk> result;
    for (std::uint32_t i = 0; i < chunks; ++i)
        result.push_back(
            cuda::paged_chunk::of_sequence(table, shape.page_tokens, std::uint64_t{i} * chunk_tokens, chunk_tokens));
    return result;
}

void compare(kv_cache& from, kv_cache& to, const char* how)
{
    from.download();
    to.download();
    const auto here = page_table(1);
    const auto there = page_table(2);
    for (std::uint32_t plane = 0; plane < shape.planes(); ++plane)
        for (std::size_t i = 0; i < here.size(); ++i)
            if (!std::ranges::equal(from.page(plane, here[i]), to.page(plane, there[i])))
                throw std::logic_error("these are not the bytes that were in the pages");
    std::printf("%s: every byte of %zu pages in %u layers is as it was\n", how, here.size(), shape.layers);
}

asio::awaitable<void> show(terrace::storage_manager& manager, cuda::transfer_engine& transfers, kv_cache& from,
                           kv_cache& to)
{
    std::vector<std::uint32_t> prompt(chunks * chunk_tokens);
    std::iota(prompt.begin(), prompt.end(), 0);
    const auto keys = terrace::token_hasher{chunk_tokens}.keys(prompt, "my-model");
    const cuda::object_layout objects{chunk_tokens};
    const auto layout = objects.memory(shape);

    // Pages to L1. The store flow takes it from there to L2.
    auto staged = manager.reserve_write(keys, layout);
    auto gathered = co_await transfers.gather({std::move(staged), from.layout(), objects, chunks_of(page_table(1))});
    gathered.commit();
    co_await manager.flush();
    manager.clear(terrace::clear_mode::unlocked);

    // L2 to L1, and to other pages as it lands.
    auto prefetch = manager.submit_prefetch({keys, layout});
    auto brought = co_await cuda::scatter_prefetch(transfers, std::move(prefetch), to.layout(), objects,
                                                   chunks_of(page_table(2)), 2);
    std::printf("%zu of %u chunks came back to the device, %zu of them from L2\n", brought.scattered, chunks,
                brought.prefetched.l2_hits);
    if (brought.scattered != chunks)
        throw std::logic_error("some of the prompt did not come back");
    compare(from, to, "window by window");

    // Layer by layer, into pages that hold something else again: the model runs layer k while layer k + 1 moves.
    to.fill(3);
    cuda::scatter_request again{std::move(brought.prefetched.lease), to.layout(), objects, chunks_of(page_table(2))};
    auto moving = transfers.submit_scatter(std::move(again).set_layers_per_step(1));
    for (std::uint32_t layer = 0; layer < shape.layers; ++layer)
        co_await moving.layer(layer);
    co_await moving.wait(); // the lease has gone
    compare(from, to, "layer by layer");
}

int main()
{
    const auto no_gpu = cuda::why_no_device();
    terrace::config config;
    config.l1.capacity_bytes = 64 << 20;
    std::shared_ptr<cuda::transfer_backend> backend;
    if (no_gpu) {
        std::printf("no GPU here (%s): the pages are in host memory\n", no_gpu->c_str());
        backend = cuda::make_cpu_backend();
    } else {
        const auto pinned = std::make_shared<cuda::pinned_memory>();
        config.l1.hook = pinned;
        cuda::cuda_options options;
        options.l1 = pinned;
        backend = cuda::make_cuda_backend(options);
    }

    asio::io_context io{1};
    terrace::storage_manager manager{io.get_executor(), config};
    manager.add_adapter(std::make_unique<terrace::memory_adapter>());
    cuda::transfer_engine transfers{io.get_executor(), backend};
    kv_cache from{*backend};
    kv_cache to{*backend};
    from.fill(1);
    to.fill(2);

    std::exception_ptr failed;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await show(manager, transfers, from, to);
            co_await transfers.close();
            co_await manager.close();
        },
        [&](std::exception_ptr error) { failed = error; });
    io.run();
    if (failed)
        std::rethrow_exception(failed);
}
