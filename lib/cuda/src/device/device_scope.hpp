#pragma once

#include <new>

namespace terrace::cuda::detail {

/// Makes a device the thread's current one while it lives, and leaves the thread as it was, without a device if it had
/// none: the thread is the caller's, who may use another.
///
/// By the driver's contexts: cudaSetDevice() back to a device makes a context there, since CUDA 12.0, which takes
/// hundreds of megabytes of a GPU that nobody may have meant to use.
class device_scope {
public:
    /// Throws boost::system::system_error.
    explicit device_scope(int device);
    /// For destructors. A driver that refuses this is at its end, and has let go of everything.
    device_scope(int device, std::nothrow_t) noexcept;
    ~device_scope();
    device_scope(const device_scope&) = delete;
    device_scope& operator=(const device_scope&) = delete;

private:
    bool entered_ = false;
};

} // namespace terrace::cuda::detail
