#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <terrace/api.hpp>

namespace terrace {

/// Who is told of every change of a quota_table, on the thread that made it, once it is in force.
class TERRACE_API quota_listener {
public:
    virtual ~quota_listener() = default;
    virtual void on_quotas() noexcept = 0;
};

/// How much of a tier each tenant may keep, by cache salt; "" stands for the objects without one. Configuration that
/// tiers share: what a tenant takes up is each tier's own (storage_manager::usage_by_salt()).
///
/// No quota is no limit; a quota of 0 keeps nothing. It bounds what is kept, not what passes through: objects that
/// are being read or stored do not count, and are evicted afterwards if they are too many.
///
/// A change takes effect at once in L1, and in an L2 at its next store.
///
/// Threads: any.
class TERRACE_API quota_table {
public:
    /// One tenant's quota.
    struct quota {
        std::string salt;
        std::uint64_t bytes = 0; ///< of objects, as their layouts have it

        friend bool operator==(const quota&, const quota&) = default;
    };

    quota_table() = default;
    quota_table(const quota_table&) = delete;
    quota_table& operator=(const quota_table&) = delete;

    /// Sets or replaces. Throws std::invalid_argument for a salt that no object_key can have.
    void set(std::string_view salt, std::uint64_t bytes);
    /// False: there was none.
    bool remove(std::string_view salt);
    [[nodiscard]] std::optional<std::uint64_t> find(std::string_view salt) const;
    [[nodiscard]] std::vector<quota> list() const; ///< by salt

    /// Another number after each change: what was read at the same version is still so.
    [[nodiscard]] std::uint64_t version() const noexcept { return version_; }
    /// Tells the listener of changes for as long as it lives.
    void listen(std::weak_ptr<quota_listener> listener);

private:
    /// Makes a change, if it is one, and tells of it once the table is free again.
    template <class Change>
    bool change(Change&& make);

    mutable std::mutex mutex_;
    std::map<std::string, std::uint64_t, std::less<>> quotas_;
    std::vector<std::weak_ptr<quota_listener>> listeners_;
    std::atomic<std::uint64_t> version_ = 0;
};

} // namespace terrace
