#include <terrace/cuda/transfer_backend.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstring>
#include <fmt/format.h>
#include <new>
#include <stdexcept>

#include <terrace/error.hpp>

namespace terrace::cuda {
namespace {

[[nodiscard]] std::byte* in_host_memory(device_address address)
{
    return reinterpret_cast<std::byte*>(address);
}

class cpu_backend final : public transfer_backend {
public:
    explicit cpu_backend(std::size_t threads) : threads_{threads} {}
    ~cpu_backend() override { threads_.join(); }

    [[nodiscard]] std::string_view name() const noexcept override { return "cpu"; }

    void start(transfer_job job, completion done) override
    {
        asio::post(threads_, [job = std::move(job), done = std::move(done)] {
            copy_runs(job);
            done({});
        });
    }

    [[nodiscard]] device_buffer allocate(std::uint64_t bytes) override
    {
        constexpr std::align_val_t alignment{256}; // as cudaMalloc() has
        std::shared_ptr<void> memory{::operator new(bytes, alignment),
                                     [](void* p) { ::operator delete(p, alignment); }};
        const auto address = reinterpret_cast<device_address>(memory.get());
        return {std::move(memory), address, bytes};
    }
    void upload(device_address to, std::span<const std::byte> from) override
    {
        std::memcpy(in_host_memory(to), from.data(), from.size());
    }
    void download(std::span<std::byte> to, device_address from) override
    {
        std::memcpy(to.data(), in_host_memory(from), to.size());
    }

private:
    asio::thread_pool threads_;
};

} // namespace

void copy_runs(const transfer_job& job) noexcept
{
    for (const transfer_job::item& item : job.items)
        for (const copy_run& run : runs(job.pages, job.objects, *item.chunk, job.layers)) {
            std::byte* const device = in_host_memory(run.device);
            std::byte* const object = item.object + run.offset;
            if (job.way == direction::gather)
                std::memcpy(object, device, run.bytes);
            else
                std::memcpy(device, object, run.bytes);
        }
}

std::shared_ptr<transfer_backend> make_cpu_backend(std::size_t threads)
{
    if (threads == 0 || threads > 256)
        throw std::invalid_argument(fmt::format("cpu backend: {} threads; 1 to 256", threads));
    return std::make_shared<cpu_backend>(threads);
}

} // namespace terrace::cuda
