// How much of the bus transfers reach: each way and both ways at once, against one large pinned copy in the same run.
// And what they cost a model: how much longer a kernel takes that keeps all multiprocessors busy.

#include "load.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <boost/system/system_error.hpp>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <fstream>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include <terrace/cuda/device.hpp>

using namespace terrace;
using cuda::direction;
using cuda::transfer_method;

namespace {

constexpr int no_gpu = 3;
constexpr std::uint64_t total_bytes = 256 << 20; // of one measurement, in each direction
constexpr std::uint64_t job_bytes = 32 << 20;    // as a transfer engine would cut it
constexpr std::size_t jobs_at_a_time = 4;
constexpr std::size_t repetitions = 5; // the median counts

void require(cudaError_t e, const char* what)
{
    if (e != cudaSuccess)
        throw std::runtime_error(fmt::format("{}: {}", what, cudaGetErrorString(e)));
}

/// Gigabytes a second of the median.
template <class F>
double measure(std::uint64_t bytes, F run)
{
    std::array<double, repetitions> seconds{};
    run(); // warms up
    for (double& s : seconds) {
        const auto begin = std::chrono::steady_clock::now();
        run();
        s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    std::ranges::sort(seconds);
    return static_cast<double>(bytes) / seconds[repetitions / 2] / 1e9;
}

struct host_memory {
    host_memory()
    {
        require(cudaHostAlloc(&address, total_bytes, cudaHostAllocPortable | cudaHostAllocMapped), "cudaHostAlloc");
        std::mt19937_64 random{1};
        for (std::uint64_t i = 0; i < total_bytes; i += 8) {
            const std::uint64_t word = random();
            std::memcpy(static_cast<std::byte*>(address) + i, &word, 8);
        }
    }
    ~host_memory() { (void)cudaFreeHost(address); }
    host_memory(const host_memory&) = delete;
    host_memory& operator=(const host_memory&) = delete;
    void* address = nullptr;
};

/// What the two directions work on; they share nothing.
struct buffers {
    explicit buffers(cuda::transfer_backend& backend)
        : pages{backend.allocate(total_bytes), backend.allocate(total_bytes)}
    {
        for (const auto& p : pages)
            backend.upload(p.address(), {static_cast<const std::byte*>(objects[0].address), total_bytes});
    }
    std::array<host_memory, 2> objects; // by direction
    std::array<cuda::device_buffer, 2> pages;
};

struct ways {
    double gather = 0;
    double scatter = 0;
    double both = 0; // the sum
};

ways ceiling(const buffers& memory)
{
    std::array<cudaStream_t, 2> streams{};
    for (cudaStream_t& s : streams)
        require(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "cudaStreamCreate");
    const auto start = [&](std::size_t way) {
        void* const device = reinterpret_cast<void*>(memory.pages[way].address());
        void* const host = memory.objects[way].address;
        require(way == 0 ? cudaMemcpyAsync(host, device, total_bytes, cudaMemcpyDeviceToHost, streams[way])
                         : cudaMemcpyAsync(device, host, total_bytes, cudaMemcpyHostToDevice, streams[way]),
                "cudaMemcpyAsync");
    };
    const auto finish = [&] {
        for (cudaStream_t s : streams)
            require(cudaStreamSynchronize(s), "cudaStreamSynchronize");
    };
    ways result;
    result.gather = measure(total_bytes, [&] { start(0), finish(); });
    result.scatter = measure(total_bytes, [&] { start(1), finish(); });
    result.both = measure(2 * total_bytes, [&] { start(0), start(1), finish(); });
    for (cudaStream_t s : streams)
        (void)cudaStreamDestroy(s);
    return result;
}

/// A model's rank: one tensor a layer, K and V outside of its pages.
struct model {
    const char* name;
    std::uint32_t layers;
    std::uint32_t heads;
};
constexpr std::array models{model{"32 layers, 1 KV head", 32, 1}, model{"4 layers, 8 KV heads", 4, 8}};

/// Jobs of one direction, a few at a time, until total_bytes have moved.
class lane {
public:
    lane(direction way, const model& m, std::uint32_t page_tokens, std::uint64_t object_bytes, const buffers& memory)
        : way_{way},
          shape_{.layers = m.layers,
                 .kv = 2,
                 .pages = 0,
                 .page_tokens = page_tokens,
                 .heads = m.heads,
                 .head_dim = 128,
                 .type = dtype::bf16},
          objects_{static_cast<std::uint32_t>(object_bytes / shape_.planes() / shape_.token_bytes())},
          object_bytes_{object_bytes},
          memory_{static_cast<std::byte*>(memory.objects[static_cast<std::size_t>(way)].address)}
    {
        const auto tokens = static_cast<std::uint32_t>(total_bytes / shape_.planes() / shape_.token_bytes());
        shape_.pages = tokens / page_tokens;
        std::vector<cuda::device_address> tensors;
        for (std::uint32_t i = 0; i < m.layers; ++i)
            tensors.push_back(memory.pages[static_cast<std::size_t>(way)].address() + i * (total_bytes / m.layers));
        using enum cuda::axis;
        pages_.emplace(shape_, std::vector{kv, page, token, head, element}, tensors);

        // The pages of a cache that has been in use for long: no two neighbours belong together. Objects smaller than
        // a page share one, as the pages' slots go on where the last object ended.
        std::vector<std::uint32_t> table(shape_.pages);
        std::iota(table.begin(), table.end(), 0);
        std::ranges::shuffle(table, std::mt19937_64{2});
        for (std::uint64_t token = 0; token + objects_.tokens() <= tokens; token += objects_.tokens())
            chunks_.push_back(cuda::paged_chunk::of_sequence(table, page_tokens, token, objects_.tokens()));
    }

    [[nodiscard]] std::uint64_t run_bytes() const { return typical_run_bytes(*pages_, objects_); }

    void start(cuda::transfer_backend& backend)
    {
        std::scoped_lock guard{mutex_};
        next_ = ended_ = started_ = 0;
        for (std::size_t i = 0; i < jobs_at_a_time && next_ < chunks_.size(); ++i)
            begin_one(backend);
    }
    /// Feeds the backend from this thread, as a completion may not.
    void finish(cuda::transfer_backend& backend)
    {
        std::unique_lock guard{mutex_};
        while (ended_ < started_ || next_ < chunks_.size()) {
            if (next_ < chunks_.size() && started_ - ended_ < jobs_at_a_time)
                begin_one(backend);
            else
                changed_.wait(guard);
        }
        if (failure_)
            throw boost::system::system_error{failure_};
    }

private:
    void begin_one(cuda::transfer_backend& backend) // under the mutex
    {
        cuda::transfer_job job{way_, *pages_, objects_, {0, shape_.layers}, {}};
        for (std::uint64_t bytes = 0; bytes < job_bytes && next_ < chunks_.size(); bytes += object_bytes_, ++next_)
            job.items.push_back({memory_ + next_ * object_bytes_, &chunks_[next_]});
        ++started_;
        mutex_.unlock(); // start() may call back at once, if it fails
        backend.start(std::move(job), [this](boost::system::error_code e) {
            std::scoped_lock guard{mutex_};
            ++ended_;
            if (e)
                failure_ = e;
            changed_.notify_all();
        });
        mutex_.lock();
    }

    const direction way_;
    cuda::page_shape shape_;
    const cuda::object_layout objects_;
    const std::uint64_t object_bytes_;
    std::byte* const memory_;
    std::optional<cuda::page_layout> pages_;
    std::vector<cuda::paged_chunk> chunks_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t next_ = 0;
    std::size_t started_ = 0;
    std::size_t ended_ = 0;
    boost::system::error_code failure_;
};

/// Something else for the multiprocessors to do.
class load {
public:
    explicit load(std::uint64_t multiprocessors) : blocks_{static_cast<std::uint32_t>(multiprocessors) * 8 * 300}
    {
        require(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
        require(cudaEventCreate(&begin_), "cudaEventCreate");
        require(cudaEventCreate(&end_), "cudaEventCreate");
        for (int i = 0; i < 4; ++i) { // the first ones warm up
            start();
            require(cudaEventSynchronize(end_), "cudaEventSynchronize");
            alone_ = seconds();
        }
    }
    ~load()
    {
        (void)cudaEventDestroy(begin_);
        (void)cudaEventDestroy(end_);
        (void)cudaStreamDestroy(stream_);
    }
    load(const load&) = delete;
    load& operator=(const load&) = delete;

    /// What part of the multiprocessors' time goes to what `round` does again and again meanwhile.
    template <class F>
    [[nodiscard]] double taken_by(F round)
    {
        start();
        while (cudaEventQuery(end_) == cudaErrorNotReady)
            round();
        require(cudaEventSynchronize(end_), "cudaEventSynchronize");
        return 1 - alone_ / seconds();
    }

private:
    void start()
    {
        require(cudaEventRecord(begin_, stream_), "cudaEventRecord");
        require(test::launch_load(blocks_, stream_), "load");
        require(cudaEventRecord(end_, stream_), "cudaEventRecord");
    }
    [[nodiscard]] double seconds() const
    {
        float ms = 0;
        require(cudaEventElapsedTime(&ms, begin_, end_), "cudaEventElapsedTime");
        return ms / 1000;
    }

    const std::uint32_t blocks_;
    cudaStream_t stream_ = nullptr;
    cudaEvent_t begin_ = nullptr;
    cudaEvent_t end_ = nullptr;
    double alone_ = 0;
};

struct plan {
    std::string name;
    std::shared_ptr<cuda::cuda_backend> backend;
};

std::vector<plan> make_plans(std::uint32_t kernel_blocks)
{
    cuda::cuda_options options;
    options.kernel_blocks = kernel_blocks;
    std::vector<plan> plans{{"by size", cuda::make_cuda_backend(options)}};
    for (const auto method :
         {transfer_method::mapped_kernel, transfer_method::staged_kernel, transfer_method::copy_engine}) {
        options.method = method;
        plans.push_back({std::string{to_string(method)}, cuda::make_cuda_backend(options)});
    }
    return plans;
}

std::string methods_used(const cuda::cuda_status& before, const cuda::cuda_status& after)
{
    std::string names;
    for (const auto m : {transfer_method::mapped_kernel, transfer_method::staged_kernel, transfer_method::copy_engine})
        if (after.methods.at(static_cast<std::size_t>(m)).jobs > before.methods.at(static_cast<std::size_t>(m)).jobs)
            names += (names.empty() ? "" : "+") + std::string{to_string(m)};
    return names;
}

std::string percent(double part, double whole)
{
    return fmt::format("{:6.1f} ({:3.0f} %)", part, 100 * part / whole);
}

/// What one backend does with objects of one size: a row of a table.
nlohmann::json measure_row(plan& p, const model& m, std::uint32_t page_tokens, std::uint64_t object,
                           const buffers& memory, const ways& limit, load& other_work)
{
    lane out{direction::gather, m, page_tokens, object, memory};
    lane in{direction::scatter, m, page_tokens, object, memory};
    const auto both = [&] {
        out.start(*p.backend);
        in.start(*p.backend);
        auto other = std::async(std::launch::async, [&] { in.finish(*p.backend); });
        out.finish(*p.backend);
        other.get();
    };
    const auto before = p.backend->status();
    ways is;
    is.gather = measure(total_bytes, [&] { out.start(*p.backend), out.finish(*p.backend); });
    is.scatter = measure(total_bytes, [&] { in.start(*p.backend), in.finish(*p.backend); });
    is.both = measure(2 * total_bytes, both);
    const std::string used = methods_used(before, p.backend->status());
    const double taken = other_work.taken_by(both);
    fmt::print("{:>10} {:>14} {:>15} {:>15} {:>15} {:>5.1f} %  {}\n", object >> 10, p.name,
               percent(is.gather, limit.gather), percent(is.scatter, limit.scatter), percent(is.both, limit.both),
               100 * taken, used);
    std::fflush(stdout); // or a kill would take what is known
    return {{"model", m.name},
            {"page_tokens", page_tokens},
            {"object_bytes", object},
            {"run_bytes", out.run_bytes()},
            {"method", p.name},
            {"used", used},
            {"gather_gb_per_s", is.gather},
            {"scatter_gb_per_s", is.scatter},
            {"both_gb_per_s", is.both},
            {"multiprocessors_taken", taken}};
}

void write(const nlohmann::json& report, const std::string& file)
{
    if (file.empty())
        return;
    std::ofstream out{file};
    out << report.dump(2) << std::endl;
    if (!out)
        throw std::runtime_error("cannot write " + file);
}

} // namespace

int main(int argc, char** argv)
try {
    std::string json_file;
    std::uint32_t kernel_blocks = cuda::cuda_options{}.kernel_blocks;
    std::uint32_t seconds = 3600;
    const auto began = std::chrono::steady_clock::now();
    CLI::App app{"Measures transfers between L1 and GPU pages against one large pinned copy"};
    app.add_option("--json", json_file, "write the results to this file as well");
    app.add_option("--kernel-blocks", kernel_blocks, "blocks that a kernel has at most")->capture_default_str();
    app.add_option("--seconds", seconds, "leave out the rows that are left after so long")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    if (const auto reason = cuda::why_no_device()) {
        fmt::print("no GPU here: {}\n", *reason);
        return no_gpu;
    }

    cudaDeviceProp properties{};
    require(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
    auto plans = make_plans(kernel_blocks);
    buffers memory{*plans.front().backend};
    const ways limit = ceiling(memory);
    const cuda::cuda_status device = plans.front().backend->status();
    fmt::print("{}: {} multiprocessors; kernels of at most {} blocks in each direction\n"
               "one pinned copy of {} MiB: {:.1f} GB/s to the host, {:.1f} to the device, {:.1f} both ways\n",
               properties.name, device.multiprocessors, device.kernel_blocks, total_bytes >> 20, limit.gather,
               limit.scatter, limit.both);
    if (!device.not_calibrated.empty())
        fmt::print("not calibrated: {}\n", device.not_calibrated);
    nlohmann::json report{
        {"device", properties.name},
        {"multiprocessors", device.multiprocessors},
        {"kernel_blocks", device.kernel_blocks},
        {"ceiling_gb_per_s", {{"gather", limit.gather}, {"scatter", limit.scatter}, {"both", limit.both}}},
        {"results", nlohmann::json::array()}};

    load other_work{device.multiprocessors};
    std::size_t skipped = 0;
    for (const std::uint32_t page_tokens : {16U, 32U, 64U})
        for (const model& m : models) {
            fmt::print(
                "\n{}, pages of {} tokens; GB/s, of the pinned copy, and of the multiprocessors' time both ways\n"
                "{:>10} {:>14} {:>15} {:>15} {:>15} {:>7}  used\n",
                m.name, page_tokens, "object KiB", "method", "gather", "scatter", "both", "taken");
            for (std::uint64_t object = 256 << 10; object <= (32 << 20); object *= 2)
                for (plan& p : plans)
                    if (std::chrono::steady_clock::now() - began < std::chrono::seconds{seconds})
                        report["results"].push_back(measure_row(p, m, page_tokens, object, memory, limit, other_work));
                    else
                        ++skipped;
            write(report, json_file);
        }
    if (skipped != 0)
        fmt::print("\n{} rows were skipped: {} seconds are over\n", skipped, seconds);
    return 0;
} catch (const std::exception& e) {
    fmt::print(stderr, "terrace_gpu_bench: {}\n", e.what());
    return 1;
}
