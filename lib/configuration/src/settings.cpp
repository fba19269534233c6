#include "setting_kinds.hpp"

#include <terrace/setting.hpp>

namespace terrace {
namespace {

constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = 1024 * kib;
constexpr std::uint64_t most_bytes = std::uint64_t{1} << 47;
constexpr std::uint64_t any_bytes = std::uint64_t{1} << 62;
constexpr std::uint64_t any_count = std::numeric_limits<std::uint32_t>::max();
constexpr std::chrono::milliseconds day = std::chrono::hours{24};

// Where a setting lives, in a configuration that may be const.
#define TERRACE_AT(path)                                                                                               \
    [](auto& c) -> auto&                                                                                               \
    {                                                                                                                  \
        return c.path;                                                                                                 \
    }

std::vector<setting> l1_settings()
{
    using namespace setting_kinds;
    using of = kinds<configuration>;
    return {
        of::size({"l1.capacity", "l1.capacity_bytes", "How much memory L1 takes; rounded up to 4 KiB."},
                 TERRACE_AT(engine.l1.capacity_bytes), {4 * kib, most_bytes}),
        of::size(
            {"l1.alignment", "l1.alignment_bytes",
             "Every object starts at a multiple of this. 4 KiB suits direct I/O; smaller objects are packed closer "
             "with less."},
            TERRACE_AT(engine.l1.alignment_bytes), {64, 2 * mib, ", a power of two", &is_power_of_two}),
        of::size({"l1.initial", "l1.initial_bytes",
                  "What is usable from the start. The rest becomes usable slice by slice, as it is needed."},
                 TERRACE_AT(engine.l1.initial_bytes), {0, most_bytes, "; 0: all of the capacity"}),
        of::size({"l1.slice", "l1.slice_bytes",
                  "What L1 grows by, and what is registered with a device at a time; rounded up to 2 MiB."},
                 TERRACE_AT(engine.l1.slice_bytes), {1, most_bytes}),
        of::name<prefault_mode>(
            {"l1.prefault", "l1.prefault",
             "Whether memory is touched when it becomes usable, which takes 100 ms to 500 ms for each GiB and thread."},
            TERRACE_AT(engine.l1.prefault),
            {{"on_demand", prefault_mode::on_demand}, {"at_start", prefault_mode::at_start}}),
        of::count({"l1.prefault_threads", "l1.prefault_threads", "How many threads touch the memory."}, "threads",
                  TERRACE_AT(engine.l1.prefault_threads), {0, 256, "; 0: one for each core, 8 at most"}),
        of::name<huge_page_mode>(
            {"l1.huge_pages", "l1.huge_pages",
             "Which pages L1 asks the kernel for: of 4 KiB, huge ones where there are any, or those of the pool that "
             "vm.nr_hugepages sets aside."},
            TERRACE_AT(engine.l1.huge_pages),
            {{"off", huge_page_mode::off},
             {"transparent", huge_page_mode::transparent},
             {"reserved", huge_page_mode::reserved}}),
        of::optional_count({"l1.numa_node", "l1.numa_node", "The NUMA node that all of L1 is to lie on."},
                           TERRACE_AT(engine.l1.numa_node), {0, 1023, ", or none: wherever the kernel likes"}),
        of::name<l1_sharing>({"l1.sharing", "l1.sharing", "Whether other processes can map L1, as a file in memory."},
                             TERRACE_AT(engine.l1.sharing),
                             {{"private_memory", l1_sharing::private_memory}, {"memfd", l1_sharing::memfd}}),
        of::share({"l1.pinned_limit", "pinned_limit", "How much of L1 pin() may hold."},
                  TERRACE_AT(engine.pinned_limit), "0 to 1", [](double share) { return share >= 0 && share <= 1; }),
    };
}

std::vector<setting> policy_settings()
{
    using namespace setting_kinds;
    using of = kinds<configuration>;
    return {
        of::text(
            {"eviction.policy", "eviction.policy",
             "What leaves L1 first: by recency, by S3-FIFO, for each tenant by recency and quota, or nothing."},
            "policy", "lru, s3fifo, isolated_lru or none",
            [](const configuration& c) { return c.engine.eviction.policy; },
            [](configuration& c, const std::string& name) {
                (void)eviction_policy::make(name);
                c.engine.eviction.policy = name;
            }),
        of::share({"eviction.high_watermark", "eviction.high_watermark",
                   "Above this, eviction begins in the background; 1 turns that off."},
                  TERRACE_AT(engine.eviction.high_watermark), "more than 0, at most 1",
                  [](double share) { return share > 0 && share <= 1; }),
        of::share({"eviction.low_watermark", "eviction.low_watermark", "At this, eviction in the background stops."},
                  TERRACE_AT(engine.eviction.low_watermark), "0 to eviction.high_watermark",
                  [](double share) { return share >= 0 && share <= 1; }),
        of::text(
            {"prefetch.policy", "prefetch",
             "What becomes of an object that was loaded: freed with its last reader, or retained until it is "
             "evicted."},
            "policy", "default or retain",
            [](const configuration& c) { return std::string{c.engine.prefetch->name()}; },
            [](configuration& c, const std::string& name) { c.engine.prefetch = prefetch_policy::make(name); }),
        of::size({"prefetch.bytes_in_flight", "prefetch_limits.bytes_in_flight",
                  "How much prefetches load at a time; the others wait."},
                 TERRACE_AT(engine.prefetch_limits.bytes_in_flight), {0, any_bytes, "; 0: half of L1"}),
        of::count({"prefetch.requests_in_flight", "prefetch_limits.requests_in_flight",
                   "How many prefetches load at a time."},
                  "requests", TERRACE_AT(engine.prefetch_limits.requests_in_flight), {1, any_count}),
        of::count({"prefetch.requests_waiting", "prefetch_limits.requests_waiting",
                   "How many prefetches may wait. One more is answered with what L1 has."},
                  "requests", TERRACE_AT(engine.prefetch_limits.requests_waiting), {0, any_count}),
        of::size({"prefetch.window", "prefetch_limits.window_bytes",
                  "How much one call of an adapter loads: what lands together can be read together."},
                 TERRACE_AT(engine.prefetch_limits.window_bytes), {1, any_bytes}),
        of::duration({"prefetch.room_timeout", "prefetch_limits.room_timeout",
                      "How long a prefetch waits for memory that stores hold, before it makes do with what there is."},
                     TERRACE_AT(engine.prefetch_limits.room_timeout), longest),
        of::name<late_load_policy>(
            {"prefetch.late_loads", "late_loads", "What becomes of an object that is loaded after the deadline."},
            TERRACE_AT(engine.late_loads),
            {{"admit", late_load_policy::admit}, {"discard", late_load_policy::discard}}),
        of::text(
            {"store.policy", "store",
             "Which objects go to which adapters, and what leaves L1 or moves on then; some with options."},
            "policy", "default, skip_l1, second_touch?history=N, write_budget?rate=SIZE&burst=SIZE or tiered",
            [](const configuration& c) {
                return c.store_policy.empty() ? std::string{c.engine.store->name()} : c.store_policy;
            },
            [](configuration& c, const std::string& text) {
                c.engine.store = terrace::store_policy::make(text);
                c.store_policy = text;
            }),
    };
}

std::vector<setting> other_settings()
{
    using namespace setting_kinds;
    using of = kinds<configuration>;
    return {
        of::duration({"close_timeout", "close_timeout",
                      "How long close() and remove_adapter() wait for what adapters have in flight."},
                     TERRACE_AT(engine.close_timeout), longest),
        of::optional_count({"random_seed", "random_seed", "Of what is left to chance: the jitter between retries."},
                           TERRACE_AT(engine.random_seed),
                           {0, std::numeric_limits<std::uint64_t>::max(), ", or none: taken from the system"}),
        of::name<std::optional<log_level>>(
            {"log.level", "log", "What is logged to standard error: this and what is worse."}, TERRACE_AT(log_level),
            {{"off", std::nullopt},
             {"debug", log_level::debug},
             {"info", log_level::info},
             {"warning", log_level::warning},
             {"error", log_level::error}}),
        of::name<log_format>({"log.format", "log", "As lines for people, or as JSON objects."}, TERRACE_AT(log_format),
                             {{"text", log_format::text}, {"json", log_format::json}}),
    };
}

std::vector<setting> all_settings()
{
    std::vector<setting> all;
    for (auto part : {l1_settings(), policy_settings(), other_settings()})
        std::ranges::move(part, std::back_inserter(all));
    return all;
}

std::vector<adapter_setting> all_adapter_settings()
{
    using namespace setting_kinds;
    using of = kinds<configured_adapter>;
    const auto timeout = [](std::string key, std::string meaning, auto where) {
        return of::duration({key, key, std::move(meaning)}, where, longest);
    };
    return {
        of::text(
            {"spec", "", "What it is, and where it stores: type:place?option=value. Required."}, "text",
            "such as file:/var/cache/terrace?capacity=20GiB", [](const configured_adapter& a) { return a.spec; },
            [](configured_adapter& a, const std::string& spec) { a.spec = spec; }),
        timeout("lookup_timeout", "How long the engine waits for a lookup, then goes on without its answer.",
                TERRACE_AT(options.lookup_timeout)),
        timeout("load_timeout", "How long it waits for a load.", TERRACE_AT(options.load_timeout)),
        timeout("store_timeout", "How long it waits for a store.", TERRACE_AT(options.store_timeout)),
        timeout("unlock_timeout", "How long it waits for an unlock.", TERRACE_AT(options.unlock_timeout)),
        of::count({"stores_in_flight", "stores_in_flight", "How many stores the adapter works on at a time."}, "calls",
                  TERRACE_AT(options.stores_in_flight), {1, any_count}),
        of::count({"stores_beside_loads", "stores_beside_loads",
                   "How many it works on while it works on loads, too, which go first."},
                  "calls", TERRACE_AT(options.stores_beside_loads), {0, any_count, "; 0: stores wait for all loads"}),
        of::size(
            {"store_window", "store_window_bytes", "How much one call stores. An object larger than that goes alone."},
            TERRACE_AT(options.store_window_bytes), {1, any_bytes}),
        of::size({"store_queue", "store_queue_bytes", "How much may wait to be stored."},
                 TERRACE_AT(options.store_queue_bytes), {0, any_bytes, "; 0: a quarter of L1"}),
        of::name<full_queue_policy>(
            {"store_queue_full", "store_queue_full",
             "What happens when more would wait: it is queued all the same and holds L1 up, the oldest is dropped for "
             "it, or it is dropped itself."},
            TERRACE_AT(options.store_queue_full),
            {{"wait", full_queue_policy::wait},
             {"drop_oldest", full_queue_policy::drop_oldest},
             {"refuse", full_queue_policy::refuse}}),
        of::count(
            {"store_retries.attempts", "store_retries.attempts", "How often a store is tried, the first included."},
            "attempts", TERRACE_AT(options.store_retries.attempts), {1, any_count}),
        of::duration({"store_retries.backoff", "store_retries.backoff",
                      "The wait before the first retry; it doubles with each further one."},
                     TERRACE_AT(options.store_retries.backoff), day),
        of::duration({"store_retries.max_backoff", "store_retries.max_backoff", "Where the doubling ends."},
                     TERRACE_AT(options.store_retries.max_backoff), day),
        of::duration({"store_retries.give_up_after", "store_retries.give_up_after",
                      "How long after it was queued a store is given up whose adapter does nothing but fail."},
                     TERRACE_AT(options.store_retries.give_up_after), day),
        of::count({"breaker.failures", "breaker.failures",
                   "How many calls must fail one after the other until no more are made."},
                  "calls", TERRACE_AT(options.breaker.failures), {1, any_count}),
        of::duration(
            {"breaker.cool_down", "breaker.cool_down",
             "How long none is made then. One call tries the adapter, and the time doubles whenever that fails."},
            TERRACE_AT(options.breaker.cool_down), day),
        of::duration({"breaker.max_cool_down", "breaker.max_cool_down", "Where the doubling ends."},
                     TERRACE_AT(options.breaker.max_cool_down), day),
    };
}

#undef TERRACE_AT

} // namespace

std::span<const setting> settings()
{
    static const std::vector<setting> all = all_settings();
    return all;
}

std::span<const adapter_setting> adapter_settings()
{
    static const std::vector<adapter_setting> all = all_adapter_settings();
    return all;
}

std::string environment_variable(std::string_view key)
{
    std::string name = "TERRACE_";
    for (const char c : key)
        name += c == '.' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    return name;
}

} // namespace terrace
