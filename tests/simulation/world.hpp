#pragma once

#include "simulation/dice.hpp"
#include "simulation/expectation.hpp"
#include "simulation/simulation.hpp"
#include "simulation/truth.hpp"
#include "simulation/watch.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <fmt/format.h>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <terrace/fault_adapter.hpp>
#include <terrace/terrace.hpp>

namespace terrace::simulation {

/// One run: an engine, adapters that misbehave, clients, and the checks.
class world {
public:
    explicit world(const run_options& options);
    run_result run();

private:
    using numbers = std::vector<std::uint32_t>; // of objects

    // ---- the world: world.cpp ----

    /// An adapter that has not been removed.
    struct plugged {
        adapter_id id{};
        std::shared_ptr<fault_control> faults;
        std::shared_ptr<watch> seen;
        l2_adapter* itself = nullptr;   // the engine's
        bool unlimited = false;         // nothing is evicted from it
        std::size_t commits_before = 0; // that it came too late for
    };
    config make_config();
    void add_adapter();
    adapter_options any_options();
    fault_rule any_fault();
    bool release_what_hangs();
    void start(asio::awaitable<void> work);
    template <class Done>
    void run_until(Done done, std::string_view what);
    void settle();
    [[nodiscard]] bool demotes() const noexcept { return store_policy_ == "tiered"; }

    [[nodiscard]] bool ok() const { return result_.failure.empty(); }
    void fail(std::string why);
    void tell(const std::string& line);
    template <class... T>
    void note(fmt::format_string<T...> format, T&&... values)
    {
        tell(fmt::format(format, std::forward<T>(values)...));
    }

    // ---- checks: checks.cpp ----

    bool check(bool holds, std::string_view what);
    void check_always();
    void check_rest();
    void check_nothing_left();
    void verify(const read_lease& lease);
    void check_answer(const expectation& from, const prefetch_result& answer);
    void check_early(const expectation& from, const read_lease& early, std::size_t positions);
    void check_in_time(std::optional<clock::time_point> deadline);

    /// Counts what a lease holds, for as long as it does.
    class counted_lease {
    public:
        counted_lease(world& w, read_lease lease);
        ~counted_lease();
        counted_lease(const counted_lease&) = delete;
        counted_lease& operator=(const counted_lease&) = delete;
        /// One for each reader, each counted for itself.
        [[nodiscard]] std::vector<std::unique_ptr<counted_lease>> split();

    private:
        static std::uint64_t count(const read_lease& lease) { return lease.size() * lease.readers(); }
        world& world_;
        read_lease lease_;
        std::uint64_t locks_;
    };

    // ---- clients: clients.cpp ----

    asio::awaitable<void> client();
    asio::awaitable<void> operate();
    numbers some(std::size_t most);
    const memory_layout& layout_for(std::uint32_t n);
    asio::awaitable<void> fill(write_lease lease, numbers which, memory_layout layout, write_mode mode);
    void commit(write_lease& lease, const numbers& which, const memory_layout& layout, write_mode mode,
                const bitmap& filled);
    asio::awaitable<void> write();
    asio::awaitable<void> write_when_free();
    asio::awaitable<void> read();
    asio::awaitable<void> use(read_lease lease);
    prefetch_request request();
    std::vector<key_group> groups();
    asio::awaitable<void> prefetch();
    asio::awaitable<void> handle();
    asio::awaitable<void> ticket();
    asio::awaitable<void> pin();
    void look_for_pinned();
    asio::awaitable<void> remove();
    asio::awaitable<void> plug();
    asio::awaitable<void> unplug();
    asio::awaitable<void> set_quota();
    asio::awaitable<void> flush();
    asio::awaitable<void> ledger();
    asio::awaitable<void> maybe_close();
    asio::awaitable<void> close();
    asio::awaitable<bool> closes(asio::awaitable<void> work);

    // ---- when all is quiet: audit.cpp ----

    /// After the clients: nothing is in progress, no adapter misbehaves any more, and what must follow can be said.
    asio::awaitable<void> audit();
    asio::awaitable<void> come_to_rest();
    asio::awaitable<void> audit_l1();
    asio::awaitable<void> audit_room();
    asio::awaitable<void> release_soon(write_lease held);
    asio::awaitable<void> audit_stores();
    asio::awaitable<void> audit_lookups();
    asio::awaitable<void> audit_prefetch();
    asio::awaitable<void> audit_ticket();
    asio::awaitable<void> write_quietly(std::uint32_t first, std::size_t objects);
    /// Which objects the adapter has.
    asio::awaitable<std::vector<bool>> contents(const plugged& adapter);
    asio::awaitable<std::vector<bool>> contents();
    /// Which keys of a request are in L2, in any adapter.
    class l2_content {
    public:
        explicit l2_content(std::size_t keys = 0) : right{keys}, wrong{keys} {}
        bitmap right; ///< under the layout that is asked for
        bitmap wrong; ///< under another, which a lookup does not see
        /// Whoever is asked for them.
        [[nodiscard]] bitmap surely() const { return right - wrong; }
    };
    asio::awaitable<l2_content> in_l2(const expectation& from);
    [[nodiscard]] std::uint64_t taken_in_l1(std::uint64_t bytes) const;

    const run_options options_;
    dice dice_;
    run_result result_;
    std::uint64_t digest_ = 0xcbf29ce484222325U;
    const bool honest_; // no adapter misbehaves, and none is too slow
    const std::string store_policy_;
    bool evicts_ = true;   // L1, when it is full
    bool retains_ = false; // what was loaded

    std::shared_ptr<manual_clock> time_ = std::make_shared<manual_clock>();
    std::shared_ptr<quota_table> quotas_ = std::make_shared<quota_table>();
    truth truth_;
    buffers_in_use buffers_;
    watch_context watching_;
    std::vector<std::shared_ptr<watch>> watches_; // of all that were ever plugged in
    std::vector<std::shared_ptr<fault_control>> faults_;
    asio::io_context io_{1};

    std::size_t operations_ = 0;
    std::size_t active_ = 0; // clients
    std::uint64_t held_locks_ = 0;
    std::uint64_t ledger_locks_ = 0;
    std::uint64_t staged_ = 0;
    std::uint64_t l1_alignment_ = 0;
    bool closing_ = false;
    std::map<std::uint32_t, clock::time_point> pinned_; // until when
    std::list<clock::time_point> in_line_;              // deadlines of who waits for room, by order of arrival
    std::vector<std::uint32_t> commits_;                // of objects that are to be stored, in order
    std::vector<plugged> adapters_;
    storage_manager manager_;
};

} // namespace terrace::simulation
