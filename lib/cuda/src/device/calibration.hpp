#pragma once

#include "lane.hpp"

#include <vector>

namespace terrace::cuda::detail {

/// How long each possible method takes for some sizes, each the best of three, timed by the device's events, with
/// nothing else on the lanes, which are the device's. On memory of its own: 16 MiB of the device's, and as much that is
/// registered. Throws system_error.
[[nodiscard]] std::vector<method_sample> calibrate(int device, lane& gather, lane& scatter);

} // namespace terrace::cuda::detail
