#pragma once

#include "lane.hpp"

#include <vector>

namespace terrace::cuda::detail {

/// How long each possible method takes for some sizes, each the best of three, timed by the device's events, with
/// nothing else on the lanes. Throws system_error.
[[nodiscard]] std::vector<method_sample> calibrate(int device, lane& gather, lane& scatter);

} // namespace terrace::cuda::detail
