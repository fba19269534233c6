#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

/// Stands for the client of some store, as vendors ship them: its calls block, and may be made from several threads at
/// once. It knows names and bytes, and nothing of Terrace. An error of a real one would be thrown.
class blocking_store {
public:
    /// What is kept beside an object's bytes.
    struct label {
        std::uint64_t fingerprint = 0; ///< of the layout
        std::uint64_t bytes = 0;
    };

    explicit blocking_store(std::chrono::microseconds round_trip = {}) : round_trip_{round_trip} {}

    /// All or nothing, also for whoever reads at the same time.
    void put(const std::string& name, std::uint64_t fingerprint, std::span<const std::byte> bytes)
    {
        travel();
        record fresh{{fingerprint, bytes.size()}, {bytes.begin(), bytes.end()}};
        const std::scoped_lock guard{mutex_};
        records_[name] = std::move(fresh);
    }

    /// Copies the object into `to`, if it is of this fingerprint and size. Returns what it is; nothing if it is not
    /// there.
    std::optional<label> get(const std::string& name, std::uint64_t fingerprint, std::span<std::byte> to) const
    {
        travel();
        const std::scoped_lock guard{mutex_};
        const auto found = records_.find(name);
        if (found == records_.end())
            return std::nullopt;
        const record& r = found->second;
        if (r.about.fingerprint == fingerprint && r.about.bytes == to.size())
            std::copy(r.bytes.begin(), r.bytes.end(), to.begin());
        return r.about;
    }

    void remove(const std::string& name)
    {
        travel();
        const std::scoped_lock guard{mutex_};
        records_.erase(name);
    }

    [[nodiscard]] std::vector<std::pair<std::string, label>> list() const
    {
        travel();
        const std::scoped_lock guard{mutex_};
        std::vector<std::pair<std::string, label>> all;
        for (const auto& [name, r] : records_)
            all.emplace_back(name, r.about);
        return all;
    }

private:
    struct record {
        label about;
        std::vector<std::byte> bytes;
    };

    void travel() const
    {
        if (round_trip_.count() != 0)
            std::this_thread::sleep_for(round_trip_);
    }

    const std::chrono::microseconds round_trip_;
    mutable std::mutex mutex_;
    std::map<std::string, record> records_;
};
