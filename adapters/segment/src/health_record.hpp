#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include <terrace/l2_adapter.hpp>

namespace terrace::segment {

/// What went wrong lately. Any thread.
class health_record {
public:
    void note_problem(std::string what)
    {
        const std::lock_guard lock{mutex_};
        problem_ = std::move(what);
    }

    /// For want of room: nothing is wrong with the disk.
    void store_refused(std::string why)
    {
        const std::lock_guard lock{mutex_};
        ++failed_stores_;
        problem_ = std::move(why);
    }
    void stores_failed(std::uint64_t objects, std::string why)
    {
        const std::lock_guard lock{mutex_};
        failed_stores_ += objects;
        last_store_failed_ = true;
        problem_ = std::move(why);
    }
    void disk_refused()
    {
        const std::lock_guard lock{mutex_};
        last_store_failed_ = true;
    }
    /// There could be more segments, and something is wrong with it.
    void growth_failed(std::string why)
    {
        const std::lock_guard lock{mutex_};
        last_growth_failed_ = true;
        problem_ = std::move(why);
    }
    void growth_succeeded()
    {
        const std::lock_guard lock{mutex_};
        last_growth_failed_ = false;
    }
    void stored()
    {
        const std::lock_guard lock{mutex_};
        last_store_failed_ = false;
    }

    void load_failed(std::string why)
    {
        const std::lock_guard lock{mutex_};
        last_load_failed_ = true;
        problem_ = std::move(why);
    }
    void loaded()
    {
        const std::lock_guard lock{mutex_};
        last_load_failed_ = false;
    }

    void describe(adapter_status& status) const
    {
        const std::lock_guard lock{mutex_};
        const bool degraded = last_load_failed_ || last_store_failed_ || last_growth_failed_;
        status.health = degraded ? adapter_health::degraded : adapter_health::healthy;
        status.problem = problem_;
        status.failed_stores = failed_stores_;
    }

private:
    mutable std::mutex mutex_;
    std::string problem_;
    std::uint64_t failed_stores_ = 0;
    bool last_store_failed_ = false;
    bool last_load_failed_ = false;
    bool last_growth_failed_ = false;
};

} // namespace terrace::segment
