// A stand-in for the CUDA runtime, in host memory: what runs the GPU's tests where there is no GPU. It says nothing
// about a GPU, but much about us:
//
// - streams do their work in an order of chance that streams and events allow, so that a missing wait shows;
// - a copy that crosses from one registration into the next is refused, as real drivers do;
// - a kernel that touches memory it cannot reach is an error, which then fails everything, as on a device.

#include "stand_in_kernels.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace {

using moment = std::chrono::steady_clock::time_point;

/// One record of an event.
struct record {
    bool done = false;
    moment at;
};

struct operation {
    std::shared_ptr<record> after; ///< null: nothing to wait for
    std::function<void()> work;
};

} // namespace

struct CUstream_st {
    std::deque<operation> line;
    bool busy = false;
};
struct CUevent_st {
    std::shared_ptr<record> last;
};

namespace {

class device {
public:
    static device& get()
    {
        static device instance;
        return instance;
    }

    template <class F>
    auto locked(F f)
    {
        std::unique_lock guard{mutex_};
        return f();
    }
    void push(CUstream_st* stream, operation op)
    {
        std::scoped_lock guard{mutex_};
        stream->line.push_back(std::move(op));
        changed_.notify_all();
    }
    void add(CUstream_st* stream)
    {
        std::scoped_lock guard{mutex_};
        streams_.push_back(stream);
    }
    void remove(CUstream_st* stream)
    {
        wait([stream] { return stream->line.empty() && !stream->busy; });
        std::scoped_lock guard{mutex_};
        std::erase(streams_, stream);
    }
    template <class Condition>
    void wait(Condition condition)
    {
        std::unique_lock guard{mutex_};
        changed_.wait(guard, condition);
    }
    void wait_for_all()
    {
        wait([this] {
            for (const CUstream_st* s : streams_)
                if (!s->line.empty() || s->busy)
                    return false;
            return true;
        });
    }

    // Memory that kernels reach.
    void allow(void* p, std::size_t bytes)
    {
        locked([&] { reachable_[address(p)] = bytes; });
    }
    bool forbid(void* p)
    {
        return locked([&] { return reachable_.erase(address(p)) == 1; });
    }
    bool can_reach(const void* p, std::size_t bytes)
    {
        return locked([&] {
            const auto* piece = find(p);
            return piece != nullptr && address(p) + bytes <= piece->first + piece->second;
        });
    }
    /// All in one piece of what was registered, or not registered at all.
    bool can_copy(const void* p, std::size_t bytes)
    {
        return locked([&] {
            const auto* piece = find(p);
            return piece == nullptr || address(p) + bytes <= piece->first + piece->second;
        });
    }

    std::atomic<cudaError_t> error = cudaSuccess; ///< of the work so far, for ever

private:
    device() : worker_{[this](const std::stop_token& stop) { run(stop); }} {}
    ~device()
    {
        locked([this] { return worker_.request_stop(); });
        changed_.notify_all();
    }

    static std::uintptr_t address(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }
    const std::pair<const std::uintptr_t, std::size_t>* find(const void* p) const
    {
        auto it = reachable_.upper_bound(address(p));
        if (it == reachable_.begin())
            return nullptr;
        --it;
        return address(p) < it->first + it->second ? &*it : nullptr;
    }

    void run(const std::stop_token& stop)
    {
        std::unique_lock guard{mutex_};
        while (!stop.stop_requested()) {
            std::vector<CUstream_st*> ready;
            for (CUstream_st* s : streams_)
                if (!s->line.empty() && (!s->line.front().after || s->line.front().after->done))
                    ready.push_back(s);
            if (ready.empty()) {
                changed_.wait(guard);
                continue;
            }
            CUstream_st* const s = ready[random_() % ready.size()];
            const operation op = std::move(s->line.front());
            s->line.pop_front();
            s->busy = true;
            if (op.work) {
                guard.unlock();
                op.work();
                guard.lock();
            }
            s->busy = false;
            changed_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<CUstream_st*> streams_;
    std::map<std::uintptr_t, std::size_t> reachable_;
    std::mt19937_64 random_{1};
    std::jthread worker_;
};

cudaError_t copy_later(void* to, const void* from, std::size_t bytes, cudaStream_t stream)
{
    if (!device::get().can_copy(to, bytes) || !device::get().can_copy(from, bytes))
        return cudaErrorInvalidValue;
    device::get().push(stream, {{}, [=] { std::memcpy(to, from, bytes); }});
    return cudaSuccess;
}

cudaError_t give(void** p, std::size_t bytes)
{
    *p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (*p == nullptr)
        return cudaErrorMemoryAllocation;
    std::memset(*p, 0xcd, bytes);
    device::get().allow(*p, bytes);
    return cudaSuccess;
}

cudaError_t take_back(void* p)
{
    device::get().wait_for_all();
    if (p != nullptr && !device::get().forbid(p))
        return cudaErrorInvalidValue;
    std::free(p);
    return cudaSuccess;
}

} // namespace

void terrace::test::require_reachable(const void* p, std::size_t bytes)
{
    if (!device::get().can_reach(p, bytes))
        throw illegal_address{};
}

extern "C" {

cudaError_t CUDARTAPI cudaGetDeviceCount(int* count)
{
    return *count = 1, cudaSuccess;
}
cudaError_t CUDARTAPI cudaGetDevice(int* which)
{
    return *which = 0, cudaSuccess;
}
cudaError_t CUDARTAPI cudaSetDevice(int)
{
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaDriverGetVersion(int* version)
{
    return *version = CUDART_VERSION, cudaSuccess;
}
cudaError_t CUDARTAPI cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int)
{
    return *value = 1, cudaSuccess;
}
cudaError_t CUDARTAPI cudaGetLastError()
{
    return device::get().error;
}
const char* CUDARTAPI cudaGetErrorString(cudaError_t)
{
    return "an error of the stand-in";
}
const char* CUDARTAPI cudaGetErrorName(cudaError_t)
{
    return "stand-in";
}
cudaError_t CUDARTAPI cudaDeviceSynchronize()
{
    return device::get().wait_for_all(), device::get().error;
}

cudaError_t CUDARTAPI cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, std::size_t,
                                       cudaStream_t stream)
{
    if (grid.x == 0 || grid.y == 0 || grid.y > 65535 || block.x == 0 || block.x > 1024)
        return cudaErrorInvalidConfiguration;
    const auto launch = *static_cast<const terrace::cuda::detail::kernel_launch*>(arguments[0]);
    device::get().push(stream, {{}, [=] {
                                    try {
                                        terrace::test::run_kernel(kernel, grid, block, launch);
                                    } catch (const terrace::test::illegal_address&) {
                                        device::get().error = cudaErrorIllegalAddress;
                                    }
                                }});
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaMalloc(void** p, std::size_t bytes)
{
    return give(p, bytes);
}
cudaError_t CUDARTAPI cudaFree(void* p)
{
    return take_back(p);
}
cudaError_t CUDARTAPI cudaHostAlloc(void** p, std::size_t bytes, unsigned)
{
    return give(p, bytes);
}
cudaError_t CUDARTAPI cudaFreeHost(void* p)
{
    return take_back(p);
}
cudaError_t CUDARTAPI cudaHostGetDevicePointer(void** to, void* host, unsigned)
{
    return *to = host, cudaSuccess;
}
cudaError_t CUDARTAPI cudaHostRegister(void* p, std::size_t bytes, unsigned)
{
    return device::get().allow(p, bytes), cudaSuccess;
}
cudaError_t CUDARTAPI cudaHostUnregister(void* p)
{
    device::get().wait_for_all();
    return device::get().forbid(p) ? cudaSuccess : cudaErrorHostMemoryNotRegistered;
}

cudaError_t CUDARTAPI cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned)
{
    *stream = std::make_unique<CUstream_st>().release();
    device::get().add(*stream);
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaStreamDestroy(cudaStream_t stream)
{
    device::get().remove(stream);
    std::unique_ptr<CUstream_st>{stream}.reset();
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaStreamSynchronize(cudaStream_t stream)
{
    device::get().wait([stream] { return stream->line.empty() && !stream->busy; });
    return device::get().error;
}
cudaError_t CUDARTAPI cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t f, void* data, unsigned)
{
    device::get().push(stream, {{}, [=] { f(stream, device::get().error, data); }});
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaEventCreateWithFlags(cudaEvent_t* event, unsigned)
{
    *event = std::make_unique<CUevent_st>().release();
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaEventDestroy(cudaEvent_t event)
{
    std::unique_ptr<CUevent_st>{event}.reset();
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    auto r = std::make_shared<record>();
    event->last = r;
    device::get().push(stream, {{}, [r] {
                                    device::get().locked([&] {
                                        r->at = std::chrono::steady_clock::now();
                                        r->done = true;
                                    });
                                }});
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    if (event->last)
        device::get().push(stream, {event->last, {}});
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaEventSynchronize(cudaEvent_t event)
{
    device::get().wait([event] { return event->last == nullptr || event->last->done; });
    return device::get().error;
}
cudaError_t CUDARTAPI cudaEventElapsedTime(float* ms, cudaEvent_t begin, cudaEvent_t end)
{
    *ms = std::chrono::duration<float, std::milli>(end->last->at - begin->last->at).count();
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind)
{
    device::get().wait_for_all();
    std::memcpy(to, from, bytes);
    return device::get().error;
}
cudaError_t CUDARTAPI cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                                      cudaStream_t stream)
{
    return copy_later(to, from, bytes, stream);
}
#if CUDART_VERSION >= 13000
cudaError_t CUDARTAPI cudaMemcpyBatchAsync(void* const* to, const void* const* from, const std::size_t* bytes,
                                           std::size_t count, cudaMemcpyAttributes*, std::size_t*, std::size_t,
                                           cudaStream_t stream)
#elif CUDART_VERSION >= 12080
cudaError_t CUDARTAPI cudaMemcpyBatchAsync(void** to, void** from, std::size_t* bytes, std::size_t count,
                                           cudaMemcpyAttributes*, std::size_t*, std::size_t, std::size_t*,
                                           cudaStream_t stream)
#endif
#if CUDART_VERSION >= 12080
{
    for (std::size_t i = 0; i < count; ++i)
        if (const cudaError_t e = copy_later(to[i], from[i], bytes[i], stream); e != cudaSuccess)
            return e;
    return cudaSuccess;
}
#endif
cudaError_t CUDARTAPI cudaMemset(void* p, int value, std::size_t bytes)
{
    device::get().wait_for_all();
    std::memset(p, value, bytes);
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream)
{
    device::get().push(stream, {{}, [=] { std::memset(p, value, bytes); }});
    return cudaSuccess;
}

} // extern "C"
