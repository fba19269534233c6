// In place of the CUDA component where the toolkit was not found, or not asked for.

#include <stdexcept>

#include <terrace/cuda/device.hpp>

namespace terrace::cuda {
namespace {

constexpr const char* no_cuda = "Terrace was built without CUDA (TERRACE_CUDA)";

class no_page_locker final : public page_locker {
    void lock(std::span<std::byte>) override { throw std::runtime_error(no_cuda); }
    void unlock(std::span<std::byte>) noexcept override {}
};

} // namespace

bool built_with_cuda() noexcept
{
    return false;
}

std::optional<std::string> why_no_device(int)
{
    return no_cuda;
}

std::shared_ptr<page_locker> make_cuda_page_locker(int)
{
    return std::make_shared<no_page_locker>();
}

std::shared_ptr<cuda_backend> make_cuda_backend(cuda_options)
{
    throw std::runtime_error(std::string{"no GPU here: "} + no_cuda);
}

} // namespace terrace::cuda
