#pragma once

#include <terrace/segment_adapter.hpp>

#include "health_record.hpp"
#include "segment_log.hpp"

namespace terrace::segment {

/// The options with their defaults. Throws std::invalid_argument that names what cannot be, and its value.
[[nodiscard]] segment_options checked(segment_options options);

/// Opens the place that checked options name. Says in `health` what will keep it from its capacity.
[[nodiscard]] segment_log open_log(const segment_options& options, health_record& health);

} // namespace terrace::segment
