#include "metric_families.hpp"

namespace terrace::metrics {
namespace {

using enum kind;

// A sample that is a field of the status, by its path.
#define TERRACE_FIELD(path) [](const engine_status& s) { return static_cast<double>(s.path); }
#define TERRACE_HISTOGRAM(of, name) [](const of& s) -> const latency_histogram& { return s.name; }
#define TERRACE_ADAPTER_FIELD(path) [](const adapter_entry& a) { return static_cast<double>(a.path); }

std::vector<engine_sample> one(double (*value)(const engine_status&))
{
    return {{"", value}};
}

std::vector<adapter_sample> one(double (*value)(const adapter_entry&))
{
    return {{"", value}};
}

template <adapter_health Health>
double is(const adapter_entry& a)
{
    return a.health == Health ? 1 : 0;
}

const std::vector<engine_family> of_engine{
    // ---- L1 ----
    {{"terrace_l1_capacity_bytes", gauge, "bytes", "Capacity of L1, once it has grown as far as it can."},
     one(TERRACE_FIELD(l1.capacity_bytes))},
    {{"terrace_l1_grown_bytes", gauge, "bytes", "What of L1's capacity is usable now."},
     one(TERRACE_FIELD(l1.grown_bytes))},
    {{"terrace_l1_reserved_huge_page_bytes", gauge, "bytes", "What of L1 lies in huge pages from the kernel's pool."},
     one(TERRACE_FIELD(l1.reserved_huge_page_bytes))},
    {{"terrace_l1_used_bytes", gauge, "bytes", "What resident and staged objects take, as allocated."},
     one(TERRACE_FIELD(l1.used_bytes))},
    {{"terrace_l1_peak_used_bytes", gauge, "bytes", "The most of L1 that was used at once since the start."},
     one(TERRACE_FIELD(l1.peak_used_bytes))},
    {{"terrace_l1_staged_bytes", gauge, "bytes", "What objects take that are being written or loaded."},
     one(TERRACE_FIELD(l1.staged_bytes))},
    {{"terrace_l1_locked_bytes", gauge, "bytes",
      "What objects take that somebody reads or stores: no eviction frees it."},
     one(TERRACE_FIELD(l1.locked_bytes))},
    {{"terrace_l1_pinned_bytes", gauge, "bytes", "What objects take that pin() keeps; it is part of what is locked."},
     one(TERRACE_FIELD(l1.pinned_bytes))},
    {{"terrace_l1_resident_objects", gauge, "objects", "Objects in L1 that can be read."},
     one(TERRACE_FIELD(l1.resident_objects))},
    {{"terrace_l1_staged_objects", gauge, "objects", "Objects in L1 that are being written or loaded."},
     one(TERRACE_FIELD(l1.staged_objects))},
    {{"terrace_l1_locked_objects", gauge, "objects",
      "Objects in L1 that somebody reads or stores: they cannot be evicted."},
     one(TERRACE_FIELD(l1.locked_objects))},
    {{"terrace_l1_pinned_objects", gauge, "objects", "Objects in L1 that pin() keeps; they are among the locked ones."},
     one(TERRACE_FIELD(l1.pinned_objects))},
    {{"terrace_l1_locks", gauge, "locks", "Locks on objects in L1, one for each reader of each."},
     one(TERRACE_FIELD(l1.locks))},
    {{"terrace_l1_committed_objects_total", counter, "objects", "Objects that callers committed to L1."},
     one(TERRACE_FIELD(l1.committed_objects))},
    {{"terrace_l1_discarded_objects_total", counter, "objects",
      "Objects that were reserved in L1 and never committed, or committed after another writer."},
     one(TERRACE_FIELD(l1.discarded_objects))},
    {{"terrace_l1_evicted_objects_total", counter, "objects", "Objects that left L1 to make room."},
     one(TERRACE_FIELD(l1.evicted_objects))},
    {{"terrace_l1_out_of_memory_keys_total", counter, "keys", "Keys of reservations refused for want of room."},
     one(TERRACE_FIELD(l1.out_of_memory))},
    {{"terrace_l1_growth_failures_total", counter, "failures",
      "Times that L1 could not grow, and went on with what it has."},
     one(TERRACE_FIELD(l1.growth_failures))},

    // ---- the prefetch chain ----
    {{"terrace_prefetch_requests_total", counter, "requests", "Prefetches and lookups."},
     one(TERRACE_FIELD(prefetch.requests))},
    {{"terrace_prefetch_keys_total", counter, "keys", "Keys that prefetches and lookups asked for."},
     one(TERRACE_FIELD(prefetch.keys))},
    {{"terrace_prefetch_hit_keys_total", counter, "keys",
      "Keys that were there and usable, by the tier they came from.", "tier"},
     {{"l1", TERRACE_FIELD(prefetch.l1_hit_keys)}, {"l2", TERRACE_FIELD(prefetch.l2_hit_keys)}}},
    {{"terrace_prefetch_loaded_bytes_total", counter, "bytes", "Bytes loaded from adapters into L1."},
     one(TERRACE_FIELD(prefetch.loaded_bytes))},
    {{"terrace_prefetch_failed_loads_total", counter, "objects", "Objects that a lookup found and no load brought."},
     one(TERRACE_FIELD(prefetch.failed_loads))},
    {{"terrace_prefetch_joined_keys_total", counter, "keys", "Keys that a load for another request brought."},
     one(TERRACE_FIELD(prefetch.joined_keys))},
    {{"terrace_prefetch_timed_out_requests_total", counter, "requests",
      "Requests answered at their deadline, with what was there."},
     one(TERRACE_FIELD(prefetch.timed_out))},
    {{"terrace_prefetch_refused_requests_total", counter, "requests",
      "Requests that found the line for admission full, and got what L1 had."},
     one(TERRACE_FIELD(prefetch.refused))},
    {{"terrace_prefetch_waiting_requests", gauge, "requests", "Requests in line for admission."},
     one(TERRACE_FIELD(prefetch.waiting))},
    {{"terrace_prefetch_in_flight_calls", gauge, "calls",
      "Lookups, loads and unlocks in progress for prefetches, late ones included."},
     one(TERRACE_FIELD(prefetch.in_flight))},
    {{"terrace_prefetch_l2_locks", gauge, "locks", "Locks held in adapters for requests and tickets in progress."},
     one(TERRACE_FIELD(prefetch.l2_locks))},

    {{"terrace_prefetch_latency_seconds", histogram, "seconds",
      "How long prefetches took, from the call to their answer."},
     {},
     {{"", TERRACE_HISTOGRAM(engine_status, prefetch_latency)}}},

    // ---- the store flow ----
    {{"terrace_store_targeted_objects_total", counter, "objects",
      "Objects to be stored, once for each adapter that the store policy named for it."},
     one(TERRACE_FIELD(store.targeted_objects))},
    {{"terrace_store_stored_objects_total", counter, "objects", "Objects that were stored, once for each adapter."},
     one(TERRACE_FIELD(store.stored_objects))},
    {{"terrace_store_stored_bytes_total", counter, "bytes",
      "Bytes of the objects that were stored, once for each adapter."},
     one(TERRACE_FIELD(store.stored_bytes))},
    {{"terrace_store_failed_objects_total", counter, "objects",
      "Objects that an adapter could not store, however often it was tried."},
     one(TERRACE_FIELD(store.failed_objects))},
    {{"terrace_store_dropped_objects_total", counter, "objects",
      "Objects that left the queue unstored: it was full, the adapter left or the engine closed."},
     one(TERRACE_FIELD(store.dropped_objects))},
    {{"terrace_store_refused_objects_total", counter, "objects",
      "Objects that found the queue full, and were refused."},
     one(TERRACE_FIELD(store.refused_objects))},
    {{"terrace_store_overtaken_objects_total", counter, "objects",
      "Objects that were written over before they were stored: the newer bytes are stored instead."},
     one(TERRACE_FIELD(store.overtaken_objects))},
    {{"terrace_store_retried_objects_total", counter, "objects", "Objects tried again, once for each further attempt."},
     one(TERRACE_FIELD(store.retried_objects))},
    {{"terrace_store_declined_objects_total", counter, "objects",
      "Objects that the store policy named no adapter for."},
     one(TERRACE_FIELD(store.declined_objects))},
    {{"terrace_store_wanted_objects_total", counter, "objects",
      "Objects that came before the store policy again, as they were wanted."},
     one(TERRACE_FIELD(store.wanted_objects))},
    {{"terrace_store_demoted_objects_total", counter, "objects",
      "Objects moved to another adapter instead of being evicted."},
     one(TERRACE_FIELD(store.demoted_objects))},
    {{"terrace_store_demoted_bytes_total", counter, "bytes",
      "Bytes moved to another adapter instead of being evicted."},
     one(TERRACE_FIELD(store.demoted_bytes))},
    {{"terrace_store_failed_demotions_total", counter, "objects",
      "Objects that could not be moved to another adapter."},
     one(TERRACE_FIELD(store.failed_demotions))},
    {{"terrace_store_policy_errors_total", counter, "errors",
      "Times that the store policy threw, or answered another question."},
     one(TERRACE_FIELD(store.policy_errors))},
    {{"terrace_store_queued_objects", gauge, "objects", "Objects that wait to be stored, for the first time or again."},
     one(TERRACE_FIELD(store.queued_objects))},
    {{"terrace_store_queued_bytes", gauge, "bytes",
      "Bytes of the objects that wait to be stored; they stay locked in L1."},
     one(TERRACE_FIELD(store.queued_bytes))},
    {{"terrace_store_in_flight_calls", gauge, "calls", "Store calls that adapters work on."},
     one(TERRACE_FIELD(store.in_flight))},
    {{"terrace_store_in_flight_objects", gauge, "objects", "Objects of the store calls that adapters work on."},
     one(TERRACE_FIELD(store.in_flight_objects))},

    // ---- the whole ----
    {{"terrace_internal_errors_total", counter, "errors",
      "Exceptions that escaped the engine's own tasks: please report them as a bug."},
     one(TERRACE_FIELD(internal_errors))},
    {{"terrace_log_errors_total", counter, "records", "Records that config::log threw at, and that were lost."},
     one(TERRACE_FIELD(log_errors))},
};

const std::vector<adapter_family> of_adapter{
    {{"terrace_adapter_health", gauge, "0 or 1",
      "1 for the state that the adapter is in, by its own word and that of its breakers; 0 for the others.", "state"},
     {{"healthy", is<adapter_health::healthy>},
      {"degraded", is<adapter_health::degraded>},
      {"failed", is<adapter_health::failed>}}},
    {{"terrace_adapter_breaker_trips_total", counter, "trips",
      "Times that the engine left the adapter alone after failures in a row."},
     one(TERRACE_ADAPTER_FIELD(breaker_trips))},
    {{"terrace_adapter_calls_total", counter, "calls", "Calls of the adapter.", "operation"},
     {{"lookup", TERRACE_ADAPTER_FIELD(lookups)},
      {"load", TERRACE_ADAPTER_FIELD(loads)},
      {"store", TERRACE_ADAPTER_FIELD(stores)},
      {"unlock", TERRACE_ADAPTER_FIELD(unlocks)},
      {"erase", TERRACE_ADAPTER_FIELD(erases)}}},
    {{"terrace_adapter_call_seconds", histogram, "seconds",
      "How long calls of the adapter took, until it had ended them, well or not, in time or late.", "operation"},
     {},
     {{"lookup", TERRACE_HISTOGRAM(adapter_entry, lookup_latency)},
      {"load", TERRACE_HISTOGRAM(adapter_entry, load_latency)},
      {"store", TERRACE_HISTOGRAM(adapter_entry, store_latency)}}},
    {{"terrace_adapter_errors_total", counter, "calls", "Calls of the adapter that threw."},
     one(TERRACE_ADAPTER_FIELD(errors))},
    {{"terrace_adapter_timeouts_total", counter, "calls", "Calls of the adapter that missed their deadline."},
     one(TERRACE_ADAPTER_FIELD(timeouts))},
    {{"terrace_adapter_in_flight_calls", gauge, "calls",
      "Calls of the adapter in progress, as the engine counts them."},
     one(TERRACE_ADAPTER_FIELD(in_flight))},
    {{"terrace_adapter_in_flight_operations", gauge, "operations",
      "Operations in progress, as the adapter counts them itself."},
     one(TERRACE_ADAPTER_FIELD(self.in_flight))},
    {{"terrace_adapter_objects", gauge, "objects", "Objects that the adapter holds."},
     one(TERRACE_ADAPTER_FIELD(self.objects))},
    {{"terrace_adapter_used_bytes", gauge, "bytes", "What the adapter's objects count against its capacity."},
     one(TERRACE_ADAPTER_FIELD(self.used_bytes))},
    {{"terrace_adapter_capacity_bytes", gauge, "bytes", "What the adapter may hold; 0: no limit."},
     one(TERRACE_ADAPTER_FIELD(self.capacity_bytes))},
    {{"terrace_adapter_locked_objects", gauge, "objects", "Objects in the adapter that lookups protect from eviction."},
     one(TERRACE_ADAPTER_FIELD(self.locked_objects))},
    {{"terrace_adapter_evicted_objects_total", counter, "objects", "Objects that the adapter evicted to make room."},
     one(TERRACE_ADAPTER_FIELD(self.evicted_objects))},
    {{"terrace_adapter_corrupt_objects_total", counter, "objects",
      "Objects found damaged or foreign, answered as a miss, and removed."},
     one(TERRACE_ADAPTER_FIELD(self.corrupt_objects))},
    {{"terrace_adapter_failed_store_objects_total", counter, "objects", "Objects that the adapter could not store."},
     one(TERRACE_ADAPTER_FIELD(self.failed_stores))},
    {{"terrace_adapter_kept_objects_total", counter, "objects",
      "Objects to be stored that were there already, and were not written again."},
     one(TERRACE_ADAPTER_FIELD(self.kept_objects))},
};

#undef TERRACE_FIELD
#undef TERRACE_ADAPTER_FIELD
#undef TERRACE_HISTOGRAM

} // namespace

std::span<const engine_family> engine_families()
{
    return of_engine;
}

std::span<const adapter_family> adapter_families()
{
    return of_adapter;
}

} // namespace terrace::metrics
