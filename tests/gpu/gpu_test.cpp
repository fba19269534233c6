// What only a GPU can show. Names that begin with "small:" also run under compute-sanitizer; see ./dev gpu.

#include "support/paged_memory.hpp"
#include "support/world.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>
#include <filesystem>
#include <future>
#include <sys/mman.h>
#include <thread>

#include <terrace/cuda/device.hpp>
#include <terrace/cuda/device_prefetch.hpp>
#include <terrace/cuda/transfer_engine.hpp>
#include <terrace/memory_adapter.hpp>

using namespace terrace;
using namespace terrace::test;
using cuda::cuda_options;
using cuda::direction;
using cuda::transfer_method;
using namespace std::chrono_literals;

namespace {

constexpr std::array methods{transfer_method::mapped_kernel, transfer_method::staged_kernel,
                             transfer_method::copy_engine};

std::shared_ptr<std::byte> pinned(std::size_t bytes)
{
    void* p = nullptr;
    REQUIRE(cudaHostAlloc(&p, bytes, cudaHostAllocMapped) == cudaSuccess);
    return {static_cast<std::byte*>(p), [](std::byte* memory) { (void)cudaFreeHost(memory); }};
}

std::shared_ptr<cuda::cuda_backend> backend_with(transfer_method method, std::uint64_t staging_bytes = 1 << 20)
{
    cuda_options options;
    options.method = method;
    options.staging_bytes = staging_bytes;
    return cuda::make_cuda_backend(options);
}

/// Pins the second, the fourth, ... piece of memory that it is given.
class every_other final : public cuda::page_locker {
public:
    void lock(std::span<std::byte> memory) override
    {
        if (++given_ % 2 == 1)
            throw std::runtime_error("not this one");
        locker_->lock(memory);
    }
    void unlock(std::span<std::byte> memory) noexcept override { locker_->unlock(memory); }

private:
    const std::shared_ptr<cuda::page_locker> locker_ = cuda::make_cuda_page_locker();
    int given_ = 0;
};

/// Another one than most tests use, if there is another.
int other_device()
{
    int count = 0;
    REQUIRE(cudaGetDeviceCount(&count) == cudaSuccess);
    return count > 1 ? 1 : 0;
}

/// Whether this thread has no current context, as one that has never used CUDA.
bool untouched()
{
    void* f = nullptr;
    cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
    REQUIRE(cudaGetDriverEntryPointByVersion("cuCtxGetCurrent", &f, 12000, cudaEnableDefault, &found) == cudaSuccess);
#else
    REQUIRE(cudaGetDriverEntryPoint("cuCtxGetCurrent", &f, cudaEnableDefault, &found) == cudaSuccess);
#endif
    CUcontext context = nullptr;
    REQUIRE(reinterpret_cast<decltype(cuCtxGetCurrent)*>(f)(&context) == CUDA_SUCCESS);
    return context == nullptr;
}

/// A rank of a model as people run them: one tensor a layer, 8 KV heads of 128.
engine_tensors model(std::uint32_t page_tokens, std::uint32_t tokens = 512)
{
    using enum cuda::axis;
    return {
        "a model", {4, 2, tokens / page_tokens, page_tokens, 8, 128, dtype::bf16}, {kv, page, token, head, element}};
}

/// What a stream, or a callback, waits at.
class door {
public:
    ~door() { open(); } // or a test that fails would never end
    void open()
    {
        if (!std::exchange(is_open_, true))
            opened_.set_value();
    }
    void pass() const { when_open_.wait(); }

private:
    std::promise<void> opened_;
    std::shared_future<void> when_open_ = opened_.get_future().share();
    bool is_open_ = false;
};

/// A stream of a model's.
class test_stream {
public:
    test_stream() { REQUIRE(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking) == cudaSuccess); }
    ~test_stream() { CHECK(cudaStreamDestroy(stream_) == cudaSuccess); }
    test_stream(const test_stream&) = delete;
    test_stream& operator=(const test_stream&) = delete;

    [[nodiscard]] cudaStream_t get() const { return stream_; }
    void wait_at(door& d) const
    {
        REQUIRE(cudaLaunchHostFunc(
                    stream_, [](void* p) { static_cast<door*>(p)->pass(); }, &d) == cudaSuccess);
    }
    void fill(cuda::device_address p, int value, std::size_t bytes) const
    {
        REQUIRE(cudaMemsetAsync(reinterpret_cast<void*>(p), value, bytes, stream_) == cudaSuccess);
    }
    void copy(std::byte* to, cuda::device_address from, std::size_t bytes) const
    {
        REQUIRE(cudaMemcpyAsync(to, reinterpret_cast<const void*>(from), bytes, cudaMemcpyDeviceToHost, stream_) ==
                cudaSuccess);
    }
    [[nodiscard]] bool is_done() const { return cudaStreamQuery(stream_) == cudaSuccess; }
    [[nodiscard]] bool is_done_within(std::chrono::seconds limit) const
    {
        const auto end = std::chrono::steady_clock::now() + limit;
        while (!is_done() && std::chrono::steady_clock::now() < end)
            std::this_thread::yield();
        return is_done();
    }
    void finish() const { CHECK(cudaStreamSynchronize(stream_) == cudaSuccess); }

private:
    cudaStream_t stream_ = nullptr;
};

/// One object of many pages, in no order, and what streams do to the pages before and after it moves. A gather is to
/// see pages full of 2, which were full of 1 before and are full of 3 after; a scatter brings 2 into pages full of 1.
class one_job {
public:
    one_job(cuda::transfer_backend& backend, direction way)
        : way_{way},
          pages_{backend.allocate(bytes)},
          layout_{{1, 1, pages, 16, 8, 128, dtype::bf16},
                  {cuda::axis::layer, cuda::axis::kv, cuda::axis::page, cuda::axis::token, cuda::axis::head,
                   cuda::axis::element},
                  {pages_.address()}}
    {
        backend.upload(pages_.address(), {object_before_.get(), bytes});
        std::memset(object_.get(), way == direction::gather ? 0 : 2, bytes);
    }

    void before(const test_stream& s) const
    {
        if (way_ == direction::gather)
            s.fill(pages_.address(), 2, bytes);
        else
            s.copy(object_before_.get(), pages_.address(), bytes);
    }
    void after(const test_stream& s) const
    {
        if (way_ == direction::gather)
            s.fill(pages_.address(), 3, bytes);
        else
            s.copy(object_after_.get(), pages_.address(), bytes);
    }
    /// `held` is run before the end is told.
    [[nodiscard]] std::future<boost::system::error_code> start(
        cuda::transfer_backend& backend, std::function<void()> held = [] {}) const
    {
        auto ended = std::make_shared<std::promise<boost::system::error_code>>();
        auto result = ended->get_future();
        backend.start({way_, layout_, objects_, {0, 1}, {{object_.get(), &chunk_}}},
                      [ended, held = std::move(held)](boost::system::error_code e) {
                          held();
                          ended->set_value(e);
                      });
        return result;
    }
    [[nodiscard]] bool saw_what_it_should() const
    {
        if (way_ == direction::gather)
            return is_full_of(object_, 2);
        return is_full_of(object_before_, 1) && is_full_of(object_after_, 2);
    }

private:
    static constexpr std::uint32_t pages = 64;
    static constexpr std::size_t bytes = pages * std::size_t{16} * 8 * 128 * 2;

    [[nodiscard]] static std::shared_ptr<std::byte> full_of(int value)
    {
        auto memory = pinned(bytes);
        std::memset(memory.get(), value, bytes);
        return memory;
    }
    [[nodiscard]] static bool is_full_of(const std::shared_ptr<std::byte>& memory, int value)
    {
        return std::all_of(memory.get(), memory.get() + bytes,
                           [value](std::byte b) { return std::to_integer<int>(b) == value; });
    }
    [[nodiscard]] static cuda::paged_chunk backwards()
    {
        std::vector<std::uint32_t> ids(pages);
        for (std::uint32_t i = 0; i < pages; ++i)
            ids[i] = pages - 1 - i;
        return cuda::paged_chunk{ids};
    }

    const direction way_;
    const std::shared_ptr<std::byte> object_ = full_of(0);
    const std::shared_ptr<std::byte> object_before_ = full_of(1); // as a scatter's pages were
    const std::shared_ptr<std::byte> object_after_ = full_of(0);
    const cuda::device_buffer pages_;
    const cuda::page_layout layout_;
    const cuda::object_layout objects_{pages * 16};
    const cuda::paged_chunk chunk_ = backwards();
};

} // namespace

TEST_CASE("small: every layout of every engine, by every method")
{
    for (const transfer_method method : methods) {
        CAPTURE(to_string(method));
        std::mt19937_64 random{10};
        const auto backend = backend_with(method);
        for (const engine_tensors& engine : engines())
            check_all_round_trips(*backend, moved_by(*backend), engine, random, pinned);
        const auto use = backend->status().methods.at(static_cast<std::size_t>(method));
        CHECK(use.jobs == engines().size() * 10 * 8); // object layouts, and jobs of each: none went another way
    }
}

TEST_CASE("gpu: pages of 16, 32 and 64 tokens of a model, in chunks of 256, by every method and by sizes")
{
    std::mt19937_64 random{11};
    for (const transfer_method method : methods) {
        const auto backend = backend_with(method, 32 << 20);
        for (const std::uint32_t page_tokens : {16U, 32U, 64U})
            check_round_trip(*backend, moved_by(*backend), model(page_tokens), cuda::object_layout{256}, random,
                             pinned);
    }
    const auto measured = cuda::make_cuda_backend();
    CHECK(measured->status().not_calibrated == "");
    CHECK(measured->methods().cells().size() == 30);
    for (const std::uint32_t page_tokens : {16U, 32U, 64U})
        check_round_trip(*measured, moved_by(*measured), model(page_tokens), cuda::object_layout{256}, random, pinned);
}

TEST_CASE("small: what is not pinned is copied all the same, and counted")
{
    std::mt19937_64 random{12};
    for (const transfer_method method : methods) {
        cuda_options options;
        options.method = method;
        options.staging_bytes = 1 << 20;
        options.l1 = std::make_shared<cuda::pinned_memory>(); // none of it
        const auto backend = cuda::make_cuda_backend(options);
        check_round_trip(*backend, moved_by(*backend), engines().front(), cuda::object_layout{16}, random);
        const auto status = backend->status();
        CHECK(status.unpinned_bytes > 0);
        CHECK(status.methods[0].jobs == 0); // no kernel can reach it
    }
}

TEST_CASE("small: a device that has addresses of its own for registered memory copies all, and no kernel maps it")
{
    int count = 0;
    REQUIRE(cudaGetDeviceCount(&count) == cudaSuccess);
    std::mt19937_64 random{18};
    for (cuda_options options; options.device < count; ++options.device) {
        int same = 0;
        REQUIRE(cudaDeviceGetAttribute(&same, cudaDevAttrCanUseHostPointerForRegisteredMem, options.device) ==
                cudaSuccess);
        if (same != 0)
            continue;
        for (const transfer_method method : methods) {
            options.method = method;
            const auto backend = cuda::make_cuda_backend(options);
            check_round_trip(*backend, moved_by(*backend), engines().front(), cuda::object_layout{16}, random, pinned);
            CHECK(backend->status().methods[0].jobs == 0);
        }
        options.method.reset();
        CHECK(cuda::make_cuda_backend(options)->status().not_calibrated == "");
    }
}

TEST_CASE("small: of a job that is pinned in part each byte is copied, and the rest is counted")
{
    std::mt19937_64 random{19};
    for (const transfer_method method : methods) {
        cuda_options options;
        options.method = method;
        options.l1 = std::make_shared<cuda::pinned_memory>(cuda::pin_failure::count, std::make_shared<every_other>());
        const auto backend = cuda::make_cuda_backend(options);
        const auto two_slices = [l1 = options.l1](std::size_t bytes) {
            const std::size_t slice = bytes / 2;
            REQUIRE(slice % 4096 == 0);
            auto* const memory = static_cast<std::byte*>(std::aligned_alloc(4096, bytes));
            l1->attach({memory, slice});
            l1->attach({memory + slice, slice});
            return std::shared_ptr<std::byte>{memory, [l1, slice](std::byte* p) {
                                                  l1->detach({p + slice, slice});
                                                  l1->detach({p, slice});
                                                  std::free(p);
                                              }};
        };
        check_round_trip(*backend, moved_by(*backend), model(16), cuda::object_layout{64}, random, two_slices);
        CHECK(backend->status().unpinned_bytes > 0);
        CHECK(backend->status().methods[0].jobs == 0);
    }
}

TEST_CASE("small: many jobs of both directions at once, over little staging memory, do not disturb each other")
{
    std::mt19937_64 random{13};
    constexpr std::uint32_t rounds = 50;
    constexpr std::uint32_t pages_each = 5; // of 16 tokens that begin inside a page
    for (const transfer_method method : methods) {
        CAPTURE(to_string(method));
        const auto backend = backend_with(method, 64 << 10);
        engine_tensors engine = engines().front();
        engine.shape.pages = rounds * pages_each;
        const cuda::object_layout objects{16};
        const std::size_t bytes = objects.size_bytes(engine.shape);
        const cuda::layer_range all{0, engine.shape.layers};
        paged_memory from{*backend, engine, random};
        paged_memory to{*backend, engine, random};
        const auto table = random_chunk(engine.shape, engine.shape.pages * engine.shape.page_tokens, 0, random).pages();
        std::vector<cuda::paged_chunk> chunks;
        for (std::uint32_t i = 0; i < rounds; ++i)
            chunks.emplace_back(std::vector(table.begin() + i * pages_each, table.begin() + (i + 1) * pages_each), 1);
        const auto gathered = pinned(rounds * bytes);
        const auto scattered = pinned(rounds * bytes);
        const auto source = random_bytes(rounds * bytes, random);
        std::memcpy(scattered.get(), source.data(), source.size());

        std::vector<std::promise<boost::system::error_code>> ends(std::size_t{2} * rounds);
        const auto start = [&](direction way, const paged_memory& pages, std::byte* object, std::uint32_t i,
                               std::size_t end) {
            backend->start({way, pages.layout(), objects, all, {{object + i * bytes, &chunks[i]}}},
                           [&ends, end](boost::system::error_code e) { ends[end].set_value(e); });
        };
        for (std::uint32_t i = 0; i < rounds; ++i) {
            start(direction::gather, from, gathered.get(), i, i);
            start(direction::scatter, to, scattered.get(), i, rounds + i);
        }
        for (auto& end : ends)
            CHECK_FALSE(end.get_future().get());
        for (std::uint32_t i = 0; i < rounds; ++i) {
            std::vector<std::byte> expected(bytes);
            from.expect_gathered(objects, chunks[i], all, expected);
            CHECK(std::memcmp(gathered.get() + i * bytes, expected.data(), bytes) == 0);
            const auto object = source.begin() + static_cast<std::ptrdiff_t>(i * bytes);
            to.expect_scattered(objects, chunks[i], all, {object, object + static_cast<std::ptrdiff_t>(bytes)});
        }
        CHECK(to.as_expected());
    }
}

TEST_CASE("gpu: jobs begin after what a stream has to do, and end before what it gets later")
{
    for (const transfer_method method : methods)
        for (const direction way : {direction::gather, direction::scatter}) {
            CAPTURE(to_string(method));
            CAPTURE(static_cast<int>(way));
            const auto backend = backend_with(method);
            const one_job job{*backend, way};
            const test_stream model;
            const test_stream later;
            door shut;
            model.wait_at(shut);
            job.before(model);
            backend->begin_after(model.get(), way);
            auto ended = job.start(*backend);
            backend->end_before(later.get(), way);
            job.after(later);
            CHECK(ended.wait_for(20ms) == std::future_status::timeout);
            CHECK_FALSE(later.is_done());
            shut.open();
            CHECK_FALSE(ended.get());
            later.finish();
            CHECK(job.saw_what_it_should());
        }
}

TEST_CASE("gpu: a stream that one direction waits for does not hold back the other")
{
    const auto backend = backend_with(transfer_method::copy_engine);
    const one_job gather{*backend, direction::gather};
    const one_job scatter{*backend, direction::scatter};
    const test_stream model;
    const test_stream later;
    door shut;
    model.wait_at(shut);
    backend->begin_after(model.get(), direction::gather);
    auto gathered = gather.start(*backend);
    auto scattered = scatter.start(*backend);
    backend->end_before(later.get(), direction::scatter);
    scatter.after(later);
    CHECK(later.is_done_within(10s)); // its callback may not come: a driver's one thread for them stands at the door
    CHECK(scatter.saw_what_it_should());
    shut.open();
    CHECK_FALSE(gathered.get());
    CHECK_FALSE(scattered.get());
}

TEST_CASE("gpu: a completion that takes its time does not hold up the jobs behind it")
{
    for (const transfer_method method : methods) {
        CAPTURE(to_string(method));
        const auto backend = backend_with(method);
        const one_job first{*backend, direction::scatter};
        const one_job second{*backend, direction::scatter};
        const test_stream later;
        door shut;
        auto reported = first.start(*backend, [&] { shut.pass(); });
        auto ended = second.start(*backend);
        backend->end_before(later.get(), direction::scatter);
        second.after(later);
        CHECK(later.is_done_within(10s));
        CHECK(second.saw_what_it_should());
        shut.open();
        CHECK_FALSE(reported.get());
        CHECK_FALSE(ended.get());
    }
}

TEST_CASE("small: pages to L1 to L2 to L1 to other pages, through leases that cross slices of a growing L1")
{
    std::mt19937_64 random{15};
    for (const transfer_method method : methods) {
        CAPTURE(to_string(method));
        const engine_tensors engine = model(16, 1024);
        const cuda::object_layout objects{16 * 13}; // 3.25 MiB: most lie in two slices
        const auto layout = objects.memory(engine.shape);
        const auto names = keys("a b c d");

        const auto hook = std::make_shared<cuda::pinned_memory>();
        cuda_options options;
        options.method = method;
        options.l1 = hook;
        const auto backend = cuda::make_cuda_backend(options);
        paged_memory from{*backend, engine, random};
        paged_memory to{*backend, engine, random};
        std::vector<cuda::paged_chunk> here;
        std::vector<cuda::paged_chunk> there;
        for (std::uint32_t i = 0; i < names.size(); ++i) {
            std::vector<std::uint32_t> pages;
            for (std::uint32_t p = 0; p < 13; ++p)
                pages.push_back(i * 13 + p);
            here.emplace_back(pages);
            std::ranges::reverse(pages);
            there.emplace_back(pages);
            std::vector<std::byte> object(layout.size_bytes());
            from.expect_gathered(objects, here.back(), {0, 4}, object);
            to.expect_scattered(objects, there.back(), {0, 4}, object);
        }

        asio::io_context io{1};
        config c;
        c.l1.capacity_bytes = 32 << 20;
        c.l1.initial_bytes = 2 << 20;
        c.l1.slice_bytes = 2 << 20;
        c.l1.hook = hook;
        storage_manager manager{io.get_executor(), c};
        manager.add_adapter(std::make_unique<memory_adapter>());
        cuda::transfer_engine transfers{io.get_executor(), backend};
        const auto work = [&]() -> asio::awaitable<void> {
            auto staged = manager.reserve_write(names, layout);
            auto filled = co_await transfers.gather({std::move(staged), from.layout(), objects, here});
            filled.commit();
            co_await manager.flush();
            manager.clear(clear_mode::unlocked);
            auto prefetch = manager.submit_prefetch({names, layout});
            auto brought =
                co_await cuda::scatter_prefetch(transfers, std::move(prefetch), to.layout(), objects, there, 2);
            CHECK(brought.scattered == names.size());
            CHECK(brought.prefetched.l2_hits == names.size());
            co_await transfers.close();
            brought = {};
            co_await manager.close();
        };
        std::exception_ptr failed;
        asio::co_spawn(io, work, [&](std::exception_ptr e) { failed = e; });
        io.run();
        if (failed)
            std::rethrow_exception(failed);
        CHECK(hook->status().pinned_slices > 1);
        CHECK(backend->status().unpinned_bytes == 0);
        CHECK(to.as_expected());
    }
}

TEST_CASE("small: a thread that never used CUDA is left so, whatever it does with a backend")
{
    cuda_options options;
    options.device = other_device();
    options.l1 = std::make_shared<cuda::pinned_memory>(); // nothing is pinned
    std::mt19937_64 random{16};
    cudaStream_t model = nullptr;
    REQUIRE(cudaSetDevice(options.device) == cudaSuccess);
    REQUIRE(cudaStreamCreateWithFlags(&model, cudaStreamNonBlocking) == cudaSuccess);
    REQUIRE(cudaSetDevice(0) == cudaSuccess);
    std::jthread{[&] {
        const auto locker = cuda::make_cuda_page_locker(options.device);
        const auto memory = plain_memory(1 << 20);
        const std::span slice{memory.get(), 1 << 20};
        REQUIRE(untouched());
        locker->lock(slice);
        CHECK(untouched());
        locker->unlock(slice);
        CHECK(untouched());
        auto backend = cuda::make_cuda_backend(options); // calibrates
        CHECK(untouched());
        backend->begin_after(model, direction::gather);
        CHECK(untouched());
        {
            const paged_memory pages{*backend, engines().front(), random};
            CHECK(untouched());
            CHECK(pages.as_expected());
            CHECK(untouched());
        }
        CHECK(untouched()); // the pages are freed
        check_round_trip(*backend, moved_by(*backend), engines().front(), cuda::object_layout{16}, random);
        CHECK(untouched());
        backend->end_before(model, direction::gather);
        CHECK(untouched());
        backend.reset();
        CHECK(untouched());
    }}.join();
    CHECK(cudaStreamDestroy(model) == cudaSuccess);
}

TEST_CASE("small: a thread that uses one device may have a backend on another")
{
    REQUIRE(cudaSetDevice(0) == cudaSuccess);
    std::mt19937_64 random{17};
    for (const transfer_method method : methods) {
        cuda_options options;
        options.method = method;
        options.device = other_device();
        options.staging_bytes = 1 << 20;
        const auto backend = cuda::make_cuda_backend(options);
        check_round_trip(*backend, moved_by(*backend), engines().front(), cuda::object_layout{16}, random, pinned);
        int now = -1;
        CHECK(cudaGetDevice(&now) == cudaSuccess);
        CHECK(now == 0);
    }
}

// An error on a device is there for the rest of the process, so this has one of its own.
TEST_CASE("alone: a kernel that reaches nowhere is reported, and so is every job after it" * doctest::skip())
{
    const std::size_t bytes = 1 << 20;
    void* const nowhere = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); // whoever asks
    REQUIRE(nowhere != MAP_FAILED);
    const auto object = pinned(bytes);
    auto backend = backend_with(transfer_method::mapped_kernel);
    auto staging = backend_with(transfer_method::staged_kernel);
    const auto memory = backend->allocate(bytes);
    const cuda::page_layout pages{
        {1, 1, 16, 16, 1, 64, dtype::bf16},
        {cuda::axis::layer, cuda::axis::kv, cuda::axis::page, cuda::axis::token, cuda::axis::head, cuda::axis::element},
        {memory.address()}};
    const cuda::object_layout objects{16};
    const cuda::paged_chunk chunk{{3}};
    const auto ended = [&](cuda::cuda_backend& by, void* where) {
        std::promise<boost::system::error_code> end;
        by.start({direction::scatter, pages, objects, {0, 1}, {{static_cast<std::byte*>(where), &chunk}}},
                 [&](boost::system::error_code e) { end.set_value(e); });
        return end.get_future().get();
    };
    CHECK_FALSE(ended(*backend, object.get()));
    CHECK(ended(*backend, nowhere));
    CHECK(ended(*backend, object.get()));
    CHECK(ended(*staging, object.get()));
    CHECK_THROWS_AS((void)backend->allocate(bytes), std::runtime_error);
    backend.reset(); // ends
    staging.reset();
    CHECK(::munmap(nowhere, bytes) == 0);
}

TEST_CASE("gpu: what fails on a device is reported, and ends")
{
    const auto self = std::filesystem::read_symlink("/proc/self/exe").string();
    CHECK(std::system(("'" + self + "' --no-skip --minimal --test-case='alone:*'").c_str()) == 0);
}

TEST_CASE("gpu: options outside their limits are refused")
{
    const auto refused = [](auto change) {
        cuda_options options;
        options.method = transfer_method::copy_engine;
        change(options);
        CHECK_THROWS_AS((void)cuda::make_cuda_backend(options), std::invalid_argument);
    };
    refused([](cuda_options& o) { o.kernel_blocks = 0; });
    refused([](cuda_options& o) { o.kernel_blocks = 1025; });
    refused([](cuda_options& o) { o.staging_bytes = 1000; });
    cuda_options absent;
    absent.device = 1000;
    CHECK_THROWS_AS((void)cuda::make_cuda_backend(absent), std::runtime_error);
}
