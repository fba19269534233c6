// Everything here needs a GPU. Without one it says so, and ends with a status of its own, which ctest takes for
// skipped.
#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <terrace/cuda/device.hpp>

int main(int argc, char** argv)
{
    constexpr int no_gpu = 3;
    if (const auto reason = terrace::cuda::why_no_device()) {
        std::printf("no GPU here: %s\n", reason->c_str());
        return no_gpu;
    }
    const int failed = doctest::Context{argc, argv}.run();
    (void)cudaDeviceReset(); // what is left now is a leak
    return failed;
}
