#include "device_scope.hpp"

#include "cuda_handles.hpp"

#include <array>
#include <atomic>
#include <cuda.h>

namespace terrace::cuda::detail {
namespace {

void check_driver(CUresult r, const char* what)
{
    check(static_cast<cudaError_t>(r), what); // the numbers are the same
}

/// By way of the runtime, so that nothing links libcuda.
template <class F>
F* driver_function(const char* name)
{
    void* f = nullptr;
    cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
    check(cudaGetDriverEntryPointByVersion(name, &f, 12000, cudaEnableDefault, &found), name);
#else
    check(cudaGetDriverEntryPoint(name, &f, cudaEnableDefault, &found), name);
#endif
    if (f == nullptr)
        check(cudaErrorSymbolNotFound, name);
    return reinterpret_cast<F*>(f);
}

struct driver {
    static const driver& get()
    {
        static const driver instance;
        return instance;
    }
    decltype(cuDeviceGet)* device_get = driver_function<decltype(cuDeviceGet)>("cuDeviceGet");
    decltype(cuDevicePrimaryCtxRetain)* retain =
        driver_function<decltype(cuDevicePrimaryCtxRetain)>("cuDevicePrimaryCtxRetain");
    decltype(cuCtxPushCurrent)* push = driver_function<decltype(cuCtxPushCurrent)>("cuCtxPushCurrent");
    decltype(cuCtxPopCurrent)* pop = driver_function<decltype(cuCtxPopCurrent)>("cuCtxPopCurrent");
};

/// The one that the runtime uses. Retained for ever, as the runtime does: what is allocated or pinned in it may outlive
/// whoever asked for it.
CUcontext primary_context(int device)
{
    static constinit std::array<std::atomic<CUcontext>, 256> retained{};
    auto& known = retained.at(static_cast<std::size_t>(device));
    if (CUcontext context = known)
        return context;
    CUdevice handle = 0;
    CUcontext context = nullptr;
    check_driver(driver::get().device_get(&handle, device), "cuDeviceGet");
    check_driver(driver::get().retain(&context, handle), "cuDevicePrimaryCtxRetain");
    known = context;
    return context;
}

} // namespace

device_scope::device_scope(int device)
{
    check_driver(driver::get().push(primary_context(device)), "cuCtxPushCurrent");
    entered_ = true;
}

device_scope::device_scope(int device, std::nothrow_t) noexcept
{
    try {
        check_driver(driver::get().push(primary_context(device)), "cuCtxPushCurrent");
        entered_ = true;
    } catch (const std::exception&) { // what follows will be refused as well
        return;
    }
}

device_scope::~device_scope()
{
    CUcontext ours = nullptr;
    if (entered_)
        (void)driver::get().pop(&ours);
}

} // namespace terrace::cuda::detail
