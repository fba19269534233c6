#pragma once

#include "flow/flow_context.hpp"

#include <cstdint>

namespace terrace {

/// Evicts in the background: from above L1's high watermark down to the low one, so that reserve_write() seldom has to,
/// and at any time what its policy calls overdue. Some objects at a time, with the executor's other work in between.
///
/// Threads: the engine's executor.
class eviction_flow {
public:
    eviction_flow(flow_context& context, std::uint64_t low_watermark_bytes)
        : context_{context},
          low_watermark_bytes_{low_watermark_bytes}
    {
    }

    void on_pressure();
    void on_overdue();

private:
    asio::awaitable<void> run();
    asio::awaitable<void> drain_overdue();

    flow_context& context_;
    const std::uint64_t low_watermark_bytes_;
};

} // namespace terrace
