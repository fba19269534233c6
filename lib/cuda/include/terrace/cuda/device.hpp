#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <terrace/api.hpp>
#include <terrace/cuda/method_table.hpp>
#include <terrace/cuda/pinned_memory.hpp>
#include <terrace/cuda/transfer_backend.hpp>

namespace terrace::cuda {

/// Whether this build has CUDA in it, or is the stub that says that it has not.
[[nodiscard]] TERRACE_API bool built_with_cuda() noexcept;

/// Why GPU `device` cannot be used: no CUDA in this build, no driver, no such device. Nothing: it can.
[[nodiscard]] TERRACE_API std::optional<std::string> why_no_device(int device = 0);

/// How a GPU is used.
struct cuda_options {
    int device = 0; ///< as CUDA numbers them
    /// What L1 is pinned by. Objects that are not pinned are copied all the same, in the thread that starts the job,
    /// and counted. Null: whatever is moved is pinned, says the caller. If it is not, a kernel that is to reach it
    /// fails, and with it all that this process does on the device.
    std::shared_ptr<pinned_memory> l1 = {};
    /// Always this one, but where it is impossible. None: by sizes.
    std::optional<transfer_method> method = {};
    /// What decides by sizes. None: measured now, in about a second, with 16 MiB of the device's memory and 16 MiB that
    /// are pinned for it.
    std::optional<method_table> methods = {};
    /// Blocks of 512 threads that a kernel has at most, but one at least for each of its up to 8 objects. Each takes a
    /// part of one multiprocessor. Gathers and scatters at the same time take twice as many. 1 to 1024
    std::uint32_t kernel_blocks = 16;
    /// Device memory of the staged kernel, in 4 parts, once for gathers and once for scatters: all in all, twice this.
    /// 0: it is not used. A multiple of 1 KiB
    std::uint64_t staging_bytes = std::uint64_t{32} << 20;
};

/// What a GPU was given to do.
struct cuda_status {
    struct use {
        std::uint64_t jobs = 0;
        std::uint64_t bytes = 0;
    };
    std::array<use, 3> methods;        ///< by transfer_method
    std::uint64_t unpinned_bytes = 0;  ///< of these, from or to memory that was not pinned
    std::uint64_t multiprocessors = 0; ///< of the device
    std::uint64_t kernel_blocks = 0;   ///< as in the options: a direction keeps no more multiprocessors busy than that
    std::string not_calibrated;        ///< why there was no memory to measure with, if there was none
};

/// A transfer_backend on a GPU.
class TERRACE_API cuda_backend : public transfer_backend {
public:
    [[nodiscard]] virtual cuda_status status() const = 0;
    [[nodiscard]] virtual const method_table& methods() const noexcept = 0;

    /// Jobs of that direction that are started later begin when what `stream` (a cudaStream_t) has to do now is done: a
    /// gather of pages that a model is still writing, a scatter into pages that it still reads.
    ///
    /// The stream is one of this device, and is not being captured into a graph. What counts is when the backend gets a
    /// job: an engine starts some of a transfer's jobs at once, and the others as those end.
    /// Throws std::runtime_error.
    virtual void begin_after(void* stream, direction way) = 0;
    /// What `stream` gets to do later begins when the jobs of that direction that the backend has been given are done,
    /// or have failed; those of a transfer that the engine has not started yet are not among them. Streams as above.
    /// Throws std::runtime_error.
    virtual void end_before(void* stream, direction way) = 0;
};

/// Throws std::runtime_error "no GPU here: ..." if there is none, or none that this build has code for, or what CUDA
/// says; std::invalid_argument for options outside their limits.
[[nodiscard]] TERRACE_API std::shared_ptr<cuda_backend> make_cuda_backend(cuda_options options = {});

} // namespace terrace::cuda
