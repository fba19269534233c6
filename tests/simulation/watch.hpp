#pragma once

#include "simulation/truth.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <terrace/clock.hpp>
#include <terrace/config.hpp>
#include <terrace/l2_adapter.hpp>

namespace terrace::simulation {

/// What all adapters of a world have in their hands. Nobody may write to memory that an adapter works with, and nobody
/// may read what an adapter is writing.
class buffers_in_use {
public:
    enum class use : std::uint8_t { reads, writes };
    using place = std::list<std::pair<std::span<const std::byte>, use>>::iterator;

    /// Whether the bytes were free for that.
    [[nodiscard]] bool free_for(std::span<const std::byte> bytes, use how) const;
    place add(std::span<const std::byte> bytes, use how) { return in_use_.insert(in_use_.end(), {bytes, how}); }
    void remove(place at) { in_use_.erase(at); }

private:
    std::list<std::pair<std::span<const std::byte>, use>> in_use_;
};

/// What a watch compares with, and whom it tells. Outlives the adapters.
struct watch_context {
    const truth& known;
    const clock& time;
    buffers_in_use& buffers;
    std::function<void(std::string)> complain;
    std::uint64_t load_window_bytes = 0;
    bool demotes = false; ///< stores come from the adapter above, too, whose limits are its own
};

/// What the engine has done to one adapter: the plain model of an adapter's contract, which the engine has to keep
/// whatever the adapter does. Told by a watched adapter, which stands between the two.
class watch {
public:
    watch(watch_context& context, const adapter_options& options) : context_{context}, options_{options} {}

    /// Locks that the engine has been given and has not begun to give back.
    [[nodiscard]] std::size_t locks() const;
    [[nodiscard]] std::uint64_t lookups() const noexcept { return lookups_; }
    /// Under which layout the object was stored last, as far as the adapter said: its fingerprint, or 0.
    [[nodiscard]] std::uint64_t stored_as(std::uint32_t n) const;
    [[nodiscard]] bool closed() const noexcept { return closed_; }

    // Told by the adapter.
    void looks_up(std::span<const object_key> keys);
    void locked(std::span<const object_key> keys, const bitmap& which);
    void locked(std::span<const stored_object> victims);
    void unlocks(std::span<const object_key> keys);
    void stored(std::span<const store_item> items, const bitmap& which);
    void closes();

    /// A load in progress, and its buffers.
    class loading {
    public:
        loading(watch& of, std::span<const load_item> items);
        ~loading();
        loading(const loading&) = delete;
        loading& operator=(const loading&) = delete;

    private:
        watch& of_;
        std::vector<std::uint32_t> numbers_;
        std::vector<buffers_in_use::place> buffers_;
        std::multiset<clock::time_point>::iterator begun_;
    };
    /// A store in progress, its buffers, and what they hold.
    class storing {
    public:
        storing(watch& of, std::span<const store_item> items);
        ~storing();
        storing(const storing&) = delete;
        storing& operator=(const storing&) = delete;

    private:
        void check_bytes(const char* when) const;
        watch& of_;
        std::span<const store_item> items_;
        std::vector<std::uint64_t> versions_;
        std::vector<buffers_in_use::place> buffers_;
        std::multiset<clock::time_point>::iterator begun_;
    };
    /// Any other call in progress.
    class calling {
    public:
        calling(watch& of, const char* what) : of_{of} { of_.begins(what); }
        ~calling() { --of_.in_flight_; }
        calling(const calling&) = delete;
        calling& operator=(const calling&) = delete;

    private:
        watch& of_;
    };

private:
    void begins(const char* what);
    void complain(std::string what) { context_.complain(std::move(what)); }
    /// Of the calls in progress, those whose time is not up: the others count for nothing.
    [[nodiscard]] std::size_t in_time(const std::multiset<clock::time_point>& begun, nanoseconds timeout) const;
    void check_batch(const auto& items, auto&& key_of, const char* what);

    watch_context& context_;
    const adapter_options options_;
    std::map<std::uint32_t, std::size_t> locks_;   // by object
    std::map<std::uint32_t, std::size_t> loading_; // calls in progress, by object
    std::map<std::uint32_t, std::uint64_t> stored_as_;
    std::multiset<clock::time_point> loads_;
    std::multiset<clock::time_point> stores_;
    std::uint64_t lookups_ = 0;
    std::size_t in_flight_ = 0;
    bool closed_ = false;
};

/// Passes every call on, and tells the watch. The wrapped adapter is a demotion_source.
[[nodiscard]] std::unique_ptr<l2_adapter> make_watched_adapter(std::unique_ptr<l2_adapter> wrapped,
                                                               std::shared_ptr<watch> by);

} // namespace terrace::simulation
