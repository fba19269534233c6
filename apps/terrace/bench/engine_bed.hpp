#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <thread>

#include <terrace/storage_manager.hpp>

#include "bench/data.hpp"

namespace terrace::bench {

/// Who runs the engine's executor.
enum class loop : std::uint8_t {
    caller,   ///< whoever calls run(), for as long as that takes
    sleeping, ///< a thread of its own, asleep while there is nothing to do
    spinning, ///< a thread of its own that never sleeps
};

/// An engine and the executor that it runs on.
class engine_bed {
public:
    explicit engine_bed(config cfg, bench::loop how = bench::loop::caller);
    engine_bed(const engine_bed&) = delete;
    engine_bed& operator=(const engine_bed&) = delete;
    ~engine_bed(); ///< closes the engine

    [[nodiscard]] storage_manager& engine() noexcept { return *engine_; }
    [[nodiscard]] asio::io_context& context() noexcept { return context_; }

    /// Runs a coroutine on the engine's executor until it ends, and throws what it throws.
    void run(asio::awaitable<void> work);
    /// Lets the engine do what it has to do just now. Only where the caller runs the executor.
    void settle();

    /// Puts objects of random bytes straight into an adapter that the engine does not have yet.
    void store_directly(l2_adapter& adapter, std::span<const object_key> keys, std::size_t object_bytes);

private:
    using work_guard = asio::executor_work_guard<asio::io_context::executor_type>;

    void spin();

    bench::loop how_;
    asio::io_context context_{1};
    std::optional<storage_manager> engine_;
    std::optional<work_guard> busy_;
    std::atomic<bool> stopped_{false};
    std::thread thread_;
};

/// An L1 whose pages are there from the start, with no eviction in the background.
[[nodiscard]] config quiet_config(std::uint64_t capacity_bytes, std::uint64_t object_bytes);

} // namespace terrace::bench
