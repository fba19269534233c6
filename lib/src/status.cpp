#include <terrace/status.hpp>

#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

namespace terrace {
namespace {

using json = nlohmann::ordered_json;

template <class Status>
struct field {
    std::string_view name;
    std::uint64_t Status::*value;
};

template <class Status, std::size_t N>
json to_object(const Status& status, const std::array<field<Status>, N>& fields)
{
    json object = json::object();
    for (const auto& [name, value] : fields)
        object[std::string{name}] = status.*value;
    return object;
}

#define TERRACE_FIELD(status, name)                                                                                    \
    field<status>                                                                                                      \
    {                                                                                                                  \
#name, &status::name                                                                                           \
    }

constexpr std::array l1_fields{
    TERRACE_FIELD(l1_status, capacity_bytes),
    TERRACE_FIELD(l1_status, grown_bytes),
    TERRACE_FIELD(l1_status, reserved_huge_page_bytes),
    TERRACE_FIELD(l1_status, used_bytes),
    TERRACE_FIELD(l1_status, staged_bytes),
    TERRACE_FIELD(l1_status, locked_bytes),
    TERRACE_FIELD(l1_status, peak_used_bytes),
    TERRACE_FIELD(l1_status, resident_objects),
    TERRACE_FIELD(l1_status, staged_objects),
    TERRACE_FIELD(l1_status, locked_objects),
    TERRACE_FIELD(l1_status, locks),
    TERRACE_FIELD(l1_status, pinned_objects),
    TERRACE_FIELD(l1_status, pinned_bytes),
    TERRACE_FIELD(l1_status, committed_objects),
    TERRACE_FIELD(l1_status, discarded_objects),
    TERRACE_FIELD(l1_status, evicted_objects),
    TERRACE_FIELD(l1_status, out_of_memory),
    TERRACE_FIELD(l1_status, growth_failures),
};
static_assert(sizeof(l1_status) == l1_fields.size() * sizeof(std::uint64_t)); // none is forgotten

constexpr std::array prefetch_fields{
    TERRACE_FIELD(prefetch_status, in_flight),    TERRACE_FIELD(prefetch_status, requests),
    TERRACE_FIELD(prefetch_status, keys),         TERRACE_FIELD(prefetch_status, l1_hit_keys),
    TERRACE_FIELD(prefetch_status, l2_hit_keys),  TERRACE_FIELD(prefetch_status, loaded_bytes),
    TERRACE_FIELD(prefetch_status, failed_loads), TERRACE_FIELD(prefetch_status, joined_keys),
    TERRACE_FIELD(prefetch_status, timed_out),    TERRACE_FIELD(prefetch_status, waiting),
    TERRACE_FIELD(prefetch_status, refused),      TERRACE_FIELD(prefetch_status, l2_locks),
};
static_assert(sizeof(prefetch_status) == prefetch_fields.size() * sizeof(std::uint64_t));

constexpr std::array store_fields{
    TERRACE_FIELD(store_status, queued_objects),    TERRACE_FIELD(store_status, queued_bytes),
    TERRACE_FIELD(store_status, in_flight),         TERRACE_FIELD(store_status, in_flight_objects),
    TERRACE_FIELD(store_status, targeted_objects),  TERRACE_FIELD(store_status, stored_objects),
    TERRACE_FIELD(store_status, stored_bytes),      TERRACE_FIELD(store_status, failed_objects),
    TERRACE_FIELD(store_status, dropped_objects),   TERRACE_FIELD(store_status, refused_objects),
    TERRACE_FIELD(store_status, overtaken_objects), TERRACE_FIELD(store_status, retried_objects),
    TERRACE_FIELD(store_status, declined_objects),  TERRACE_FIELD(store_status, wanted_objects),
    TERRACE_FIELD(store_status, policy_errors),     TERRACE_FIELD(store_status, demoted_objects),
    TERRACE_FIELD(store_status, demoted_bytes),     TERRACE_FIELD(store_status, failed_demotions),
};
static_assert(sizeof(store_status) == store_fields.size() * sizeof(std::uint64_t));

// What the engine counts of an adapter, and what the adapter says itself: one object, as it is one adapter.
constexpr std::array entry_fields{
    TERRACE_FIELD(adapter_entry, breaker_trips), TERRACE_FIELD(adapter_entry, lookups),
    TERRACE_FIELD(adapter_entry, loads),         TERRACE_FIELD(adapter_entry, stores),
    TERRACE_FIELD(adapter_entry, unlocks),       TERRACE_FIELD(adapter_entry, erases),
    TERRACE_FIELD(adapter_entry, errors),        TERRACE_FIELD(adapter_entry, timeouts),
    TERRACE_FIELD(adapter_entry, in_flight),
};
constexpr std::array self_fields{
    TERRACE_FIELD(adapter_status, objects),         TERRACE_FIELD(adapter_status, used_bytes),
    TERRACE_FIELD(adapter_status, capacity_bytes),  TERRACE_FIELD(adapter_status, locked_objects),
    TERRACE_FIELD(adapter_status, evicted_objects), TERRACE_FIELD(adapter_status, corrupt_objects),
    TERRACE_FIELD(adapter_status, failed_stores),   TERRACE_FIELD(adapter_status, kept_objects),
};

#undef TERRACE_FIELD

json to_object(const latency_histogram& latency)
{
    return {{"count", latency.count()}, {"sum_ns", latency.sum_ns}, {"counts", latency.counts}};
}

json to_object(const adapter_entry& entry)
{
    json object{
        {"id", static_cast<std::uint32_t>(entry.id)},
        {"name", entry.self.name},
        {"health", to_string(entry.health)},
        {"problem", entry.self.problem},
    };
    object.update(to_object(entry, entry_fields));
    object.update(to_object(entry.self, self_fields));
    object["lookup_latency"] = to_object(entry.lookup_latency);
    object["load_latency"] = to_object(entry.load_latency);
    object["store_latency"] = to_object(entry.store_latency);
    return object;
}

} // namespace

std::string to_json(const engine_status& status, int indent)
{
    json adapters = json::array();
    for (const adapter_entry& entry : status.adapters)
        adapters.push_back(to_object(entry));
    const json all{
        {"l1", to_object(status.l1, l1_fields)},
        {"prefetch", to_object(status.prefetch, prefetch_fields)},
        {"prefetch_latency", to_object(status.prefetch_latency)},
        {"store", to_object(status.store, store_fields)},
        {"adapters", std::move(adapters)},
        {"internal_errors", status.internal_errors},
        {"log_errors", status.log_errors},
    };
    // What an adapter says of its problem may come from anywhere: what is not UTF-8 is replaced, not refused.
    return all.dump(indent, ' ', false, json::error_handler_t::replace);
}

} // namespace terrace
