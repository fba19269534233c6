#include "load.hpp"

namespace terrace::test {
namespace {

constexpr std::uint32_t threads = 256;

__global__ void __launch_bounds__(threads) compute(float* never)
{
    float a = static_cast<float>(threadIdx.x);
    float b = a + 1;
    float c = a + 2;
    float d = a + 3;
    for (int i = 0; i < 4000; ++i) { // about a tenth of a millisecond for a full multiprocessor
        a = a * 0.999f + 0.5f;
        b = b * 0.998f + 0.5f;
        c = c * 0.997f + 0.5f;
        d = d * 0.996f + 0.5f;
    }
    if (a + b + c + d < 0) // not so; or the compiler would leave it all out
        *never = a;
}

} // namespace

cudaError_t launch_load(std::uint32_t blocks, cudaStream_t stream)
{
    float* never = nullptr;
    void* arguments[] = {&never};
    return cudaLaunchKernel(reinterpret_cast<const void*>(&compute), dim3(blocks), dim3(threads), arguments, 0, stream);
}

} // namespace terrace::test
