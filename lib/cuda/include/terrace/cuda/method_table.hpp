#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <terrace/api.hpp>
#include <terrace/cuda/transfer_backend.hpp>

namespace terrace::cuda {

/// How a GPU moves a job.
enum class transfer_method : std::uint8_t {
    mapped_kernel, ///< a kernel reads the one side and writes the other, over the bus; takes multiprocessors throughout
    staged_kernel, ///< a kernel between pages and a buffer on the device, large copies between that and L1
    copy_engine,   ///< a batch of copies, one for each run; takes no multiprocessor
};

/// The method's name, as the enumerator is spelt.
[[nodiscard]] TERRACE_API std::string_view to_string(transfer_method method) noexcept;

/// How long one method took.
struct method_sample {
    direction way = direction::gather;
    transfer_method method = transfer_method::copy_engine;
    std::uint64_t run_bytes = 0; ///< of one run; >= 1
    std::uint64_t job_bytes = 0; ///< of the job; >= 1
    double seconds = 0;          ///< > 0
};

/// Decides by sizes how a job is moved. No clock, no device: it goes by what was measured.
class TERRACE_API method_table {
public:
    /// Without measurements: the copy engine for runs of 256 KiB and more, for which published figures agree that it
    /// keeps the bus busy, and the staged kernel for the rest.
    method_table() = default;

    /// By the samples: for each direction and pair of sizes the fastest; but the copy engine if it takes no more than
    /// 5 % longer, since the model wants the multiprocessors, or else the staged kernel if it does not.
    /// Throws std::invalid_argument for a sample with a size of 0 or a time that is not positive.
    explicit method_table(const std::vector<method_sample>& samples);

    /// The method of the nearest sizes that were measured, in powers of two.
    [[nodiscard]] transfer_method choose(direction way, std::uint64_t run_bytes, std::uint64_t job_bytes) const;

    struct cell {
        direction way;
        std::uint64_t run_bytes;
        std::uint64_t job_bytes;
        transfer_method method;
        double seconds; ///< of that method
    };
    /// Empty without measurements.
    [[nodiscard]] const std::vector<cell>& cells() const noexcept { return cells_; }

private:
    std::vector<cell> cells_;
};

} // namespace terrace::cuda
