#include "calibration.hpp"
#include "cuda_handles.hpp"
#include "kernels.hpp"
#include "lane.hpp"

#include <cstring>
#include <fmt/format.h>
#include <mutex>
#include <new>
#include <stdexcept>

#include <terrace/cuda/device.hpp>

namespace terrace::cuda {
namespace detail {
namespace {

// Boost's category has a protected destructor and a friend, which gcc takes for one that anybody can call.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"
class cuda_error_category final : public boost::system::error_category {
public:
    constexpr cuda_error_category() noexcept : error_category{0x7465727263756461U} {}
    [[nodiscard]] const char* name() const noexcept override { return "cuda"; }
    [[nodiscard]] std::string message(int value) const override
    {
        const auto e = static_cast<cudaError_t>(value);
        return fmt::format("{} ({})", cudaGetErrorString(e), cudaGetErrorName(e));
    }
};
#pragma GCC diagnostic pop

class locker final : public page_locker {
public:
    explicit locker(int device) : device_{device} {}

    void lock(std::span<std::byte> memory) override
    {
        if (const auto reason = why_no_device(device_))
            throw std::runtime_error("no GPU here: " + *reason);
        const device_scope scope{device_};
        check(cudaHostRegister(memory.data(), memory.size(), cudaHostRegisterPortable | cudaHostRegisterMapped),
              "cudaHostRegister");
    }
    void unlock(std::span<std::byte> memory) noexcept override
    {
        const device_scope scope{device_, std::nothrow};
        if (cudaHostUnregister(memory.data()) != cudaSuccess) // the driver may be gone at the process's end
            (void)cudaGetLastError();
    }

private:
    const int device_;
};

[[nodiscard]] cuda_options checked(cuda_options options)
{
    if (options.kernel_blocks == 0 || options.kernel_blocks > 1024)
        throw std::invalid_argument(fmt::format("cuda backend: {} kernel blocks; 1 to 1024", options.kernel_blocks));
    if (options.staging_bytes % 1024 != 0)
        throw std::invalid_argument(
            fmt::format("cuda backend: {} staging bytes; a multiple of 1024", options.staging_bytes));
    if (const auto reason = why_no_device(options.device))
        throw std::runtime_error("no GPU here: " + *reason);
    return options;
}

/// A completion on its way through the device's queue, and back by report().
struct pending {
    transfer_backend::completion done;
};

void CUDART_CB report(cudaStream_t, cudaError_t e, void* p) noexcept
{
    const std::unique_ptr<pending> reached{static_cast<pending*>(p)};
    reached->done(e == cudaSuccess ? boost::system::error_code{} : error_of(e));
}

class backend final : public cuda_backend {
public:
    explicit backend(cuda_options options)
        : options_{checked(std::move(options))},
          on_device_{options_.device},
          gather_{direction::gather, options_},
          scatter_{direction::scatter, options_}
    {
        require_kernels();
        status_.multiprocessors = static_cast<std::uint64_t>(attribute(cudaDevAttrMultiProcessorCount));
        status_.kernel_blocks = options_.kernel_blocks;
        choose_methods();
        on_device_.reset();
    }

    ~backend() override
    {
        on_device_.emplace(options_.device, std::nothrow); // until the lanes have gone
        gather_.synchronize();                             // and with them what was to be reported
        scatter_.synchronize();
    }

    [[nodiscard]] std::string_view name() const noexcept override { return "cuda"; }
    [[nodiscard]] const method_table& methods() const noexcept override { return methods_; }
    [[nodiscard]] cuda_status status() const override
    {
        std::scoped_lock guard{mutex_};
        return status_;
    }

    void start(transfer_job job, completion done) override
    {
        if (const auto error = try_to_start(job, done))
            done(error);
    }

    [[nodiscard]] device_buffer allocate(std::uint64_t bytes) override
    {
        const std::shared_ptr<void> memory{allocate_device(options_.device, bytes)};
        return {memory, reinterpret_cast<device_address>(memory.get()), bytes};
    }
    void upload(device_address to, std::span<const std::byte> from) override
    {
        const device_scope scope{options_.device};
        check(cudaMemcpy(reinterpret_cast<void*>(to), from.data(), from.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
        check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    }
    void download(std::span<std::byte> to, device_address from) override
    {
        const device_scope scope{options_.device};
        check(cudaMemcpy(to.data(), reinterpret_cast<const void*>(from), to.size(), cudaMemcpyDeviceToHost),
              "cudaMemcpy");
    }

    void begin_after(void* stream, direction way) override
    {
        std::scoped_lock guard{mutex_};
        const device_scope scope{options_.device};
        lane_of(way).begin_after(static_cast<cudaStream_t>(stream));
    }
    void end_before(void* stream, direction way) override
    {
        std::scoped_lock guard{mutex_};
        const device_scope scope{options_.device};
        lane_of(way).end_before(static_cast<cudaStream_t>(stream));
    }

private:
    [[nodiscard]] lane& lane_of(direction way) { return way == direction::gather ? gather_ : scatter_; }

    [[nodiscard]] int attribute(cudaDeviceAttr which) const
    {
        int value = 0;
        check(cudaDeviceGetAttribute(&value, which, options_.device), "cudaDeviceGetAttribute");
        return value;
    }

    void require_kernels() const
    {
        const cudaError_t e = load_kernels();
        if (e == cudaErrorNoKernelImageForDevice || e == cudaErrorInvalidDeviceFunction)
            throw std::runtime_error(fmt::format("no GPU here: this build has no code for compute capability {}.{} "
                                                 "(TERRACE_CUDA_ARCHITECTURES)",
                                                 attribute(cudaDevAttrComputeCapabilityMajor),
                                                 attribute(cudaDevAttrComputeCapabilityMinor)));
        check(e, "cudaFuncGetAttributes");
    }

    void choose_methods()
    {
        if (options_.methods) {
            methods_ = *options_.methods;
            return;
        }
        if (options_.method)
            return;
        try {
            methods_ = method_table{calibrate(options_.device, gather_, scatter_)};
        } catch (const boost::system::system_error& e) {
            if (e.code() != error_of(cudaErrorMemoryAllocation))
                throw;
            status_.not_calibrated = e.what();
        }
    }

    /// Why it could not be started; nothing of it is running then, and `done` is not going to be called.
    [[nodiscard]] boost::system::error_code try_to_start(const transfer_job& job, const completion& done)
    try {
        std::scoped_lock guard{mutex_};
        const device_scope scope{options_.device};
        lane& l = lane_of(job.way);
        try {
            queue(l, job);
            hand_over(l, done);
            return {};
        } catch (...) {
            l.abandon(); // some of it may be running: the memory must stay until that has ended
            throw;
        }
    } catch (const boost::system::system_error& e) {
        return e.code();
    } catch (...) { // a list of copies that found no memory
        return make_error_code(boost::system::errc::not_enough_memory);
    }

    void queue(lane& l, const transfer_job& job)
    {
        std::uint64_t bytes = 0;
        std::uint64_t unpinned = 0;
        const page_shape& shape = job.pages.shape();
        const std::uint64_t layers = job.layers.last - job.layers.first;
        for (const transfer_job::item& item : job.items) {
            const std::uint64_t moved =
                item.chunk->tokens_of(job.objects.tokens()) * shape.kv * shape.token_bytes() * layers;
            bytes += moved;
            if (options_.l1 && !options_.l1->is_pinned({item.object, job.objects.size_bytes(shape)}))
                unpinned += moved;
        }
        transfer_method method =
            options_.method.value_or(methods_.choose(job.way, typical_run_bytes(job.pages, job.objects), bytes));
        // Not every way is open: memory that is not pinned, no room for staging. The last one always is.
        for (const transfer_method next :
             {method, transfer_method::staged_kernel, transfer_method::mapped_kernel, transfer_method::copy_engine}) {
            method = next;
            if (l.queue(job, method, unpinned == 0) == lane::outcome::queued)
                break;
        }
        cuda_status::use& use = status_.methods[static_cast<std::size_t>(method)];
        ++use.jobs;
        use.bytes += bytes;
        status_.unpinned_bytes += unpinned;
    }

    /// By cudaStreamAddCallback(): cudaLaunchHostFunc() would never call back after an error on the device, and who
    /// waits would wait for ever.
    static void hand_over(lane& l, const completion& done)
    {
        auto p = std::make_unique<pending>(pending{done});
        l.report(report, p.get());
        (void)p.release(); // report() has it now
    }

    const cuda_options options_;
    std::optional<device_scope> on_device_; // while it is constructed, and while it is destroyed
    mutable std::mutex mutex_;
    lane gather_;
    lane scatter_;
    method_table methods_;
    cuda_status status_;
};

} // namespace

const boost::system::error_category& cuda_category() noexcept
{
    static const cuda_error_category instance;
    return instance;
}

} // namespace detail

bool built_with_cuda() noexcept
{
    return true;
}

std::optional<std::string> why_no_device(int device)
{
    int count = 0; // CUDA leaves it as it is when it fails
    if (const cudaError_t e = cudaGetDeviceCount(&count); e != cudaSuccess) {
        (void)cudaGetLastError();
        int driver = 0;
        if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0)
            return "no NVIDIA driver"; // the runtime calls it too old
        return detail::error_of(e).message();
    }
    if (device < 0 || device >= count)
        return fmt::format("device {} of {}", device, count);
    return {};
}

std::shared_ptr<page_locker> make_cuda_page_locker(int device)
{
    return std::make_shared<detail::locker>(device);
}

std::shared_ptr<cuda_backend> make_cuda_backend(cuda_options options)
{
    return std::make_shared<detail::backend>(std::move(options));
}

} // namespace terrace::cuda
