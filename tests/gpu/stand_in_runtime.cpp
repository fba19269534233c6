// A stand-in for the CUDA runtime, in host memory: what runs the GPU's tests where there is no GPU. It says nothing
// about a GPU, but much about us:
//
// - streams do their work in an order of chance that streams and events allow, so that a missing wait shows;
// - callbacks and host functions are run one at a time, by a thread of their own, and hold up the stream they are in;
// - there are several devices, and a current context for each thread: a kernel on the wrong one is refused, and who
// calls
//   without a context gets one, which then shows;
// - a copy that crosses from one registration into the next is refused, as real drivers do;
// - a kernel that touches memory it cannot reach is an error, which then fails everything, as on a device;
// - what is left at the end is a leak.

#include "stand_in_runtime.hpp"

#include "stand_in_kernels.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda.h>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

using namespace terrace::test;

namespace {

using moment = std::chrono::steady_clock::time_point;

/// One record of an event.
struct record {
    bool done = false;
    moment at;
};

enum class place : std::uint8_t { device, host };

struct operation {
    std::shared_ptr<record> after; ///< null: nothing to wait for
    std::function<void()> work;
    place where = place::device;
};

/// What CUDA can reach.
struct memory_piece {
    std::size_t bytes;
    int device; ///< host: the host's
};
constexpr int host = -1;

} // namespace

struct CUctx_st {
    int device;
};
struct CUstream_st {
    int device;
    std::deque<operation> line;
    bool busy = false;
};
struct CUevent_st {
    int device;
    std::shared_ptr<record> last;
};

namespace {

std::array contexts{CUctx_st{0}, CUctx_st{1}, CUctx_st{2}};
static_assert(contexts.size() == stand_in::devices);

thread_local std::vector<CUcontext> current; // the driver's stack
thread_local int chosen = 0;                 // by cudaSetDevice()
thread_local int running_on = 0;             // the device whose kernel this thread runs

/// A call that takes a context makes one where there is none.
int current_device()
{
    if (current.empty())
        current.push_back(&contexts.at(static_cast<std::size_t>(chosen)));
    return current.back()->device;
}

class machine {
public:
    static machine& get()
    {
        static machine instance;
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
        wait([stream] { return is_idle(*stream); });
        std::scoped_lock guard{mutex_};
        std::erase(streams_, stream);
    }
    template <class Condition>
    void wait(Condition condition)
    {
        std::unique_lock guard{mutex_};
        ++waiting_;
        changed_.notify_all();
        changed_.wait(guard, condition);
        --waiting_;
    }
    void wait_for_all()
    {
        wait([this] { return all_idle(); });
    }
    [[nodiscard]] static bool is_idle(const CUstream_st& s) { return s.line.empty() && !s.busy; }
    [[nodiscard]] bool all_idle() const // under the mutex
    {
        return std::ranges::all_of(streams_, [](const CUstream_st* s) { return is_idle(*s); });
    }

    // Memory that kernels reach.
    void allow(const void* p, std::size_t bytes, int device)
    {
        locked([&] { reachable_[address(p)] = {bytes, device}; });
        ++changes_of_memory;
    }
    bool forbid(const void* p)
    {
        ++changes_of_memory;
        return locked([&] { return reachable_.erase(address(p)) == 1; });
    }
    /// The piece that a kernel of this device reaches there, or none.
    std::span<const std::byte> reachable(const void* p, int device)
    {
        return locked([&]() -> std::span<const std::byte> {
            const auto* piece = find(p);
            if (piece == nullptr ||
                (piece->second.device == host ? device == stand_in::own_addresses : piece->second.device != device))
                return {};
            return {reinterpret_cast<const std::byte*>(piece->first), piece->second.bytes};
        });
    }
    /// All in one piece of what was registered, or not registered at all.
    bool can_copy(const void* p, std::size_t bytes)
    {
        return locked([&] {
            const auto* piece = find(p);
            return piece == nullptr || address(p) + bytes <= piece->first + piece->second.bytes;
        });
    }
    bool is_registered(const void* p)
    {
        return locked([&] { return find(p) != nullptr; });
    }

    /// What a call answers that cannot be carried out: it is to fail, or everything does.
    cudaError_t refused(const char* call)
    {
        return locked([&] {
            const auto planned = failures_.find(call);
            if (planned != failures_.end() && --planned->second.calls_until == 0) {
                const cudaError_t e = planned->second.error;
                failures_.erase(planned);
                return e;
            }
            return error.load();
        });
    }
    void plan_failure(const std::string& call, int nth, cudaError_t e)
    {
        locked([&] { failures_[call] = {nth, e}; });
    }
    void forget_failures()
    {
        locked([&] { failures_.clear(); });
    }
    void work_only_when_waited_for(bool lazy)
    {
        locked([&] { lazy_ = lazy; });
        changed_.notify_all();
    }

    /// What was not given back.
    [[nodiscard]] std::size_t left() const { return streams_.size() + reachable_.size() + events; }

    std::atomic<std::uint64_t> changes_of_memory = 0;
    std::atomic<cudaError_t> error = cudaSuccess; ///< of the work so far, for ever
    std::atomic<std::size_t> events = 0;

private:
    machine()
        : device_{[this](const std::stop_token& stop) { run(stop, place::device); }},
          host_{[this](const std::stop_token& stop) { run(stop, place::host); }}
    {
    }
    ~machine()
    {
        locked([this] { return device_.request_stop() && host_.request_stop(); });
        changed_.notify_all();
    }

    static std::uintptr_t address(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }
    const std::pair<const std::uintptr_t, memory_piece>* find(const void* p) const
    {
        auto it = reachable_.upper_bound(address(p));
        if (it == reachable_.begin())
            return nullptr;
        --it;
        return address(p) < it->first + it->second.bytes ? &*it : nullptr;
    }

    void run(const std::stop_token& stop, place here)
    {
        std::unique_lock guard{mutex_};
        std::mt19937_64 random{1};
        while (!stop.stop_requested()) {
            std::vector<CUstream_st*> ready;
            for (CUstream_st* s : streams_)
                if (!s->busy && !s->line.empty() && s->line.front().where == here &&
                    (!s->line.front().after || s->line.front().after->done))
                    ready.push_back(s);
            if (ready.empty() || (lazy_ && waiting_ == 0)) {
                changed_.wait(guard);
                continue;
            }
            CUstream_st* const s = ready[random() % ready.size()];
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

    struct failure {
        int calls_until;
        cudaError_t error;
    };
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<CUstream_st*> streams_;
    std::map<std::uintptr_t, memory_piece> reachable_;
    std::map<std::string, failure> failures_;
    int waiting_ = 0; // threads
    bool lazy_ = false;
    std::jthread device_;
    std::jthread host_;
};

/// Unless everything fails already.
void do_later(cudaStream_t stream, std::function<void()> work)
{
    machine::get().push(stream, {{}, [work = std::move(work)] {
                                     if (machine::get().error == cudaSuccess)
                                         work();
                                 }});
}

cudaError_t copy_later(void* to, const void* from, std::size_t bytes, cudaStream_t stream)
{
    if (!machine::get().can_copy(to, bytes) || !machine::get().can_copy(from, bytes))
        return cudaErrorInvalidValue;
    do_later(stream, [=] { std::memcpy(to, from, bytes); });
    return cudaSuccess;
}

cudaError_t give(void** p, std::size_t bytes, int device)
{
    *p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (*p == nullptr)
        return cudaErrorMemoryAllocation;
    std::memset(*p, 0xcd, bytes);
    machine::get().allow(*p, bytes, device);
    return cudaSuccess;
}

cudaError_t take_back(void* p)
{
    (void)current_device();
    machine::get().wait_for_all();
    if (p != nullptr && !machine::get().forbid(p))
        return cudaErrorInvalidValue;
    std::free(p);
    return cudaSuccess;
}

// The driver's own functions.

CUresult device_get(CUdevice* device, int ordinal)
{
    return *device = ordinal, CUDA_SUCCESS;
}
CUresult primary_context_retain(CUcontext* context, CUdevice device)
{
    return *context = &contexts.at(static_cast<std::size_t>(device)), CUDA_SUCCESS;
}
CUresult context_push(CUcontext context)
{
    return current.push_back(context), CUDA_SUCCESS;
}
CUresult context_pop(CUcontext* context)
{
    if (current.empty())
        return CUDA_ERROR_INVALID_CONTEXT;
    *context = current.back();
    return current.pop_back(), CUDA_SUCCESS;
}
CUresult context_get(CUcontext* context)
{
    return *context = current.empty() ? nullptr : current.back(), CUDA_SUCCESS;
}

} // namespace

void stand_in::fail(const std::string& call, int nth, cudaError_t error)
{
    machine::get().plan_failure(call, nth, error);
}
void stand_in::forget_failures()
{
    machine::get().forget_failures();
}
void stand_in::work_only_when_waited_for(bool lazy)
{
    machine::get().work_only_when_waited_for(lazy);
}
bool stand_in::idle()
{
    return machine::get().locked([] { return machine::get().all_idle(); });
}

void terrace::test::require_reachable(const void* p, std::size_t bytes)
{
    // Kernels ask for every unit: mostly of the pages and of the object in turn.
    struct known {
        std::uint64_t changes = ~std::uint64_t{0};
        int device = 0;
        std::span<const std::byte> piece;
    };
    thread_local std::array<known, 2> cache;
    const auto* const first = static_cast<const std::byte*>(p);
    const auto holds = [&](const known& k) {
        return k.changes == machine::get().changes_of_memory && k.device == running_on && !k.piece.empty() &&
               first >= k.piece.data() && first + bytes <= k.piece.data() + k.piece.size();
    };
    if (holds(cache[0]))
        return;
    std::swap(cache[0], cache[1]);
    if (holds(cache[0]))
        return;
    const std::uint64_t changes = machine::get().changes_of_memory;
    cache[0] = {changes, running_on, machine::get().reachable(p, running_on)};
    if (!holds(cache[0]))
        throw illegal_address{};
}

extern "C" {

cudaError_t CUDARTAPI cudaGetDeviceCount(int* count)
{
    return *count = stand_in::devices, cudaSuccess;
}
cudaError_t CUDARTAPI cudaGetDevice(int* which)
{
    return *which = current.empty() ? chosen : current.back()->device, cudaSuccess;
}
cudaError_t CUDARTAPI cudaSetDevice(int device)
{
    chosen = device;
    if (!current.empty())
        current.pop_back();
    return (void)current_device(), cudaSuccess;
}
cudaError_t CUDARTAPI cudaDeviceReset()
{
    machine::get().wait_for_all();
    machine::get().error = cudaSuccess;
    if (machine::get().left() != 0) {
        std::fprintf(stderr, "the stand-in for CUDA: %zu streams, events and pieces of memory are left\n",
                     machine::get().left());
        std::abort();
    }
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaDriverGetVersion(int* version)
{
    return *version = CUDART_VERSION, cudaSuccess;
}
cudaError_t CUDARTAPI cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device)
{
    switch (attribute) {
    case cudaDevAttrCanUseHostPointerForRegisteredMem:
        *value = device != stand_in::own_addresses ? 1 : 0;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
        *value = 7;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
        *value = 5;
        return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
        *value = 100;
        return cudaSuccess;
    default:
        return cudaErrorInvalidValue;
    }
}
cudaError_t CUDARTAPI cudaGetLastError()
{
    return machine::get().error;
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
    (void)current_device();
    return machine::get().wait_for_all(), machine::get().error;
}

static cudaError_t driver_function(const std::string& name, void** f)
{
    const std::map<std::string, void*> all{
        {"cuDeviceGet", reinterpret_cast<void*>(&device_get)},
        {"cuDevicePrimaryCtxRetain", reinterpret_cast<void*>(&primary_context_retain)},
        {"cuCtxPushCurrent", reinterpret_cast<void*>(&context_push)},
        {"cuCtxPopCurrent", reinterpret_cast<void*>(&context_pop)},
        {"cuCtxGetCurrent", reinterpret_cast<void*>(&context_get)}};
    const auto it = all.find(name);
    *f = it == all.end() ? nullptr : it->second;
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaGetDriverEntryPoint(const char* name, void** f, unsigned long long,
                                              cudaDriverEntryPointQueryResult*)
{
    return driver_function(name, f);
}
#if CUDART_VERSION >= 12050
cudaError_t CUDARTAPI cudaGetDriverEntryPointByVersion(const char* name, void** f, unsigned, unsigned long long,
                                                       cudaDriverEntryPointQueryResult*)
{
    return driver_function(name, f);
}
#endif

cudaError_t CUDARTAPI cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*)
{
    *attributes = {};
    return current_device() == stand_in::without_code ? cudaErrorNoKernelImageForDevice : cudaSuccess;
}
cudaError_t CUDARTAPI cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, std::size_t,
                                       cudaStream_t stream)
{
    if (const cudaError_t e = machine::get().refused(__func__); e != cudaSuccess)
        return e;
    if (grid.x == 0 || grid.y == 0 || grid.y > 65535 || block.x == 0 || block.x > 1024)
        return cudaErrorInvalidConfiguration;
    if (stream->device != current_device())
        return cudaErrorInvalidResourceHandle;
    const auto launch = *static_cast<const terrace::cuda::detail::kernel_launch*>(arguments[0]);
    do_later(stream, [=] {
        running_on = stream->device;
        try {
            run_kernel(kernel, grid, block, launch);
        } catch (const illegal_address&) {
            machine::get().error = cudaErrorIllegalAddress;
        }
    });
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaMalloc(void** p, std::size_t bytes)
{
    if (const cudaError_t e = machine::get().refused(__func__); e != cudaSuccess)
        return e;
    return give(p, bytes, current_device());
}
cudaError_t CUDARTAPI cudaFree(void* p)
{
    return take_back(p);
}
cudaError_t CUDARTAPI cudaHostAlloc(void** p, std::size_t bytes, unsigned)
{
    (void)current_device();
    return give(p, bytes, host);
}
cudaError_t CUDARTAPI cudaFreeHost(void* p)
{
    return take_back(p);
}
cudaError_t CUDARTAPI cudaHostRegister(void* p, std::size_t bytes, unsigned)
{
    (void)current_device();
    if (const cudaError_t e = machine::get().refused(__func__); e != cudaSuccess)
        return e;
    return machine::get().allow(p, bytes, host), cudaSuccess;
}
cudaError_t CUDARTAPI cudaHostUnregister(void* p)
{
    (void)current_device();
    machine::get().wait_for_all();
    return machine::get().forbid(p) ? cudaSuccess : cudaErrorHostMemoryNotRegistered;
}

cudaError_t CUDARTAPI cudaDeviceGetStreamPriorityRange(int* least, int* greatest)
{
    (void)current_device();
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int)
{
    *stream = std::make_unique<CUstream_st>(current_device()).release();
    machine::get().add(*stream);
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags)
{
    return cudaStreamCreateWithPriority(stream, flags, 0);
}
cudaError_t CUDARTAPI cudaStreamDestroy(cudaStream_t stream)
{
    (void)current_device();
    machine::get().remove(stream);
    std::unique_ptr<CUstream_st>{stream}.reset();
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaStreamSynchronize(cudaStream_t stream)
{
    (void)current_device();
    machine::get().wait([stream] { return machine::is_idle(*stream); });
    return machine::get().error;
}
cudaError_t CUDARTAPI cudaStreamQuery(cudaStream_t stream)
{
    (void)current_device();
    const bool idle = machine::get().locked([stream] { return machine::is_idle(*stream); });
    return idle ? machine::get().error.load() : cudaErrorNotReady;
}
cudaError_t CUDARTAPI cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t f, void* data, unsigned)
{
    (void)current_device();
    if (const cudaError_t e = machine::get().refused(__func__);
        e != cudaSuccess && machine::get().error == cudaSuccess) // it is taken, and reports, after an error
        return e;
    machine::get().push(stream, {{}, [=] { f(stream, machine::get().error, data); }, place::host});
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t f, void* data)
{
    (void)current_device();
    machine::get().push(stream, {{},
                                 [=] {
                                     if (machine::get().error == cudaSuccess)
                                         f(data);
                                 },
                                 place::host});
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaEventCreateWithFlags(cudaEvent_t* event, unsigned)
{
    *event = std::make_unique<CUevent_st>(current_device()).release();
    ++machine::get().events;
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaEventDestroy(cudaEvent_t event)
{
    (void)current_device();
    std::unique_ptr<CUevent_st>{event}.reset();
    --machine::get().events;
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    (void)current_device();
    if (const cudaError_t e = machine::get().refused(__func__); e != cudaSuccess)
        return e;
    if (event->device != stream->device)
        return cudaErrorInvalidResourceHandle;
    auto r = std::make_shared<record>();
    event->last = r;
    machine::get().push(stream, {{}, [r] {
                                     machine::get().locked([&] {
                                         r->at = std::chrono::steady_clock::now();
                                         r->done = true;
                                     });
                                 }});
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    (void)current_device();
    if (const cudaError_t e = machine::get().refused(__func__); e != cudaSuccess)
        return e;
    if (event->last)
        machine::get().push(stream, {event->last, {}});
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaEventSynchronize(cudaEvent_t event)
{
    (void)current_device();
    machine::get().wait([event] { return event->last == nullptr || event->last->done; });
    return machine::get().error;
}
cudaError_t CUDARTAPI cudaEventElapsedTime(float* ms, cudaEvent_t begin, cudaEvent_t end)
{
    (void)current_device();
    *ms = std::chrono::duration<float, std::milli>(end->last->at - begin->last->at).count();
    return machine::get().error;
}

cudaError_t CUDARTAPI cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind)
{
    (void)current_device(); // it waits for no stream that is cudaStreamNonBlocking, as all here are
    if (machine::get().error == cudaSuccess)
        std::memcpy(to, from, bytes);
    return machine::get().error;
}
cudaError_t CUDARTAPI cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                                      cudaStream_t stream)
{
    (void)current_device();
    if (const cudaError_t e = machine::get().refused(__func__); e != cudaSuccess)
        return e;
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
    if (const cudaError_t e = machine::get().refused(__func__); e != cudaSuccess)
        return e;
    // It may take other memory of the host's, and other addresses; we do not rely on it.
    for (std::size_t i = 0; i < count; ++i)
        if (!machine::get().is_registered(to[i]) || !machine::get().is_registered(from[i]) ||
            current_device() == stand_in::own_addresses)
            return cudaErrorInvalidValue;
    for (std::size_t i = 0; i < count; ++i)
        if (const cudaError_t e = copy_later(to[i], from[i], bytes[i], stream); e != cudaSuccess)
            return e;
    return cudaSuccess;
}
#endif
cudaError_t CUDARTAPI cudaMemset(void* p, int value, std::size_t bytes)
{
    (void)current_device();
    std::memset(p, value, bytes);
    return cudaSuccess;
}
cudaError_t CUDARTAPI cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream)
{
    (void)current_device();
    do_later(stream, [=] { std::memset(p, value, bytes); });
    return cudaSuccess;
}

} // extern "C"
