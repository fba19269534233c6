#include <terrace/cuda/method_table.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <stdexcept>

namespace terrace::cuda {
namespace {

constexpr std::uint64_t long_run_bytes = 256 << 10;
constexpr double worth_the_multiprocessors = 1.05; // how much slower a method may be that takes fewer of them
constexpr std::array by_multiprocessors{transfer_method::copy_engine, transfer_method::staged_kernel,
                                        transfer_method::mapped_kernel}; // the fewest first

using times = std::array<double, by_multiprocessors.size()>; // in that order

[[nodiscard]] std::size_t rank(transfer_method method)
{
    return static_cast<std::size_t>(std::ranges::find(by_multiprocessors, method) - by_multiprocessors.begin());
}

[[nodiscard]] std::size_t best(const times& seconds)
{
    const double least = *std::ranges::min_element(seconds);
    std::size_t i = 0;
    while (seconds[i] > least * worth_the_multiprocessors)
        ++i;
    return i;
}

[[nodiscard]] double distance(std::uint64_t a, std::uint64_t b)
{
    return std::abs(std::log2(static_cast<double>(a)) - std::log2(static_cast<double>(b)));
}

} // namespace

std::string_view to_string(transfer_method method) noexcept
{
    switch (method) {
    case transfer_method::mapped_kernel:
        return "mapped_kernel";
    case transfer_method::staged_kernel:
        return "staged_kernel";
    case transfer_method::copy_engine:
        return "copy_engine";
    }
    return "unknown";
}

method_table::method_table(const std::vector<method_sample>& samples)
{
    std::vector<times> all; // of the cell with the same index
    for (const method_sample& s : samples) {
        if (s.run_bytes == 0 || s.job_bytes == 0 || !(s.seconds > 0))
            throw std::invalid_argument(fmt::format("method table: {} s for runs of {} in {} bytes; all above 0",
                                                    s.seconds, s.run_bytes, s.job_bytes));
        auto c = std::ranges::find_if(cells_, [&](const cell& x) {
            return x.way == s.way && x.run_bytes == s.run_bytes && x.job_bytes == s.job_bytes;
        });
        if (c == cells_.end()) {
            c = cells_.insert(c, {s.way, s.run_bytes, s.job_bytes, s.method, s.seconds});
            all.emplace_back().fill(std::numeric_limits<double>::infinity());
        }
        double& seconds = all[static_cast<std::size_t>(c - cells_.begin())][rank(s.method)];
        seconds = std::min(seconds, s.seconds);
    }
    for (std::size_t i = 0; i < cells_.size(); ++i) {
        cells_[i].method = by_multiprocessors[best(all[i])];
        cells_[i].seconds = all[i][best(all[i])];
    }
}

transfer_method method_table::choose(direction way, std::uint64_t run_bytes, std::uint64_t job_bytes) const
{
    const cell* nearest = nullptr;
    double least = std::numeric_limits<double>::infinity();
    for (const cell& c : cells_) {
        const double d = distance(c.run_bytes, std::max<std::uint64_t>(run_bytes, 1)) +
                         distance(c.job_bytes, std::max<std::uint64_t>(job_bytes, 1));
        if (c.way == way && d < least) {
            least = d;
            nearest = &c;
        }
    }
    if (nearest != nullptr)
        return nearest->method;
    return run_bytes >= long_run_bytes ? transfer_method::copy_engine : transfer_method::staged_kernel;
}

} // namespace terrace::cuda
