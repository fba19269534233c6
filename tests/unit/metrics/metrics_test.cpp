#include "support/prometheus_page.hpp"
#include "support/world.hpp"

#include <array>
#include <bit>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include <terrace/metrics.hpp>

using namespace terrace;
using namespace terrace::test;

namespace {

prometheus_page page_of(const engine_status& status, const metric_labels& constant = {})
{
    return prometheus_page::parse(prometheus_text(status, constant));
}

/// Gives each number of a structure that holds nothing else, whatever its name, a value of its own.
template <class Numbers>
void fill(Numbers& numbers, std::uint64_t& next)
{
    std::array<std::uint64_t, sizeof(Numbers) / sizeof(std::uint64_t)> values;
    for (std::uint64_t& value : values)
        value = next++;
    numbers = std::bit_cast<Numbers>(values);
}

void fill(adapter_entry& a, std::uint64_t& next)
{
    for (auto* number : {&a.breaker_trips, &a.lookups, &a.loads, &a.stores, &a.unlocks, &a.erases, &a.errors,
                         &a.timeouts, &a.in_flight, &a.self.objects, &a.self.used_bytes, &a.self.capacity_bytes,
                         &a.self.locked_objects, &a.self.in_flight, &a.self.evicted_objects, &a.self.corrupt_objects,
                         &a.self.failed_stores, &a.self.kept_objects})
        *number = next++;
}

/// A status in which no two numbers are the same.
engine_status distinct_numbers()
{
    engine_status status;
    std::uint64_t next = 1'000;
    fill(status.l1, next);
    fill(status.prefetch, next);
    fill(status.store, next);
    status.internal_errors = next++;
    status.log_errors = next++;
    for (std::uint32_t i = 1; i <= 2; ++i) {
        adapter_entry& adapter = status.adapters.emplace_back();
        adapter.id = adapter_id{i};
        adapter.self.name = "memory:";
        fill(adapter, next);
    }
    return status;
}

void collect_numbers(const nlohmann::json& json, std::multiset<double>& numbers)
{
    if (json.is_number())
        numbers.insert(json.get<double>());
    else if (json.is_structured())
        for (const auto& member : json)
            collect_numbers(member, numbers);
}

std::string docs_page()
{
    std::ifstream file{TERRACE_SOURCE_DIR "/docs/metrics.md"};
    return {std::istreambuf_iterator<char>{file}, {}};
}

std::string row_of(const metric_family& family)
{
    return fmt::format("| `{}` | {} | {} | {} | {} |", family.name, family.type, family.unit,
                       fmt::join(family.labels, ", "), family.meaning);
}

} // namespace

TEST_CASE("metrics: the page is well-formed, and has all families even of an engine that has done nothing")
{
    const auto page = page_of({});
    const auto described = metric_families();
    REQUIRE(page.families.size() == described.size());
    for (std::size_t i = 0; i < described.size(); ++i) {
        CAPTURE(described[i].name);
        CHECK(page.families[i].name == described[i].name);
        CHECK(page.families[i].type == described[i].type);
        CHECK(page.families[i].help == described[i].meaning);
        CHECK(page.families[i].samples.empty() == (described[i].name.starts_with("terrace_adapter_")));
    }
}

TEST_CASE("metrics: names say what they count, as Prometheus wants it")
{
    for (const metric_family& family : metric_families()) {
        CAPTURE(family.name);
        CHECK(family.name.starts_with("terrace_"));
        CHECK(family.name.ends_with("_total") == (family.type == "counter"));
        CHECK(family.name.ends_with("_seconds") == (family.unit == "seconds"));
        CHECK((family.name.find("_bytes") != std::string::npos) == (family.unit == "bytes"));
        CHECK(family.meaning.ends_with("."));
    }
}

TEST_CASE("metrics: each number of a status is there, once")
{
    const engine_status status = distinct_numbers();
    const auto page = page_of(status);
    std::multiset<double> shown;
    for (const auto& family : page.families)
        for (const auto& sample : family.samples)
            shown.insert(sample.value);
    std::multiset<double> counted;
    collect_numbers(nlohmann::json::parse(to_json(status)), counted);
    for (const double number : counted) {
        if (number < 1'000) // an adapter's id
            continue;
        CAPTURE(number);
        CHECK(shown.count(number) == 1);
    }
    CHECK(shown.count(static_cast<double>(status.adapters[0].self.in_flight)) == 1);
}

TEST_CASE("metrics: a number has the name of what it counts")
{
    const engine_status status = distinct_numbers();
    const auto page = page_of(status);
    const auto same = [&](std::uint64_t number, std::string_view name,
                          const std::map<std::string, std::string>& labels = {}) {
        CAPTURE(name);
        CHECK(page.value(name, labels) == static_cast<double>(number));
    };
    same(status.l1.used_bytes, "terrace_l1_used_bytes");
    same(status.l1.out_of_memory, "terrace_l1_out_of_memory_keys_total");
    same(status.prefetch.l1_hit_keys, "terrace_prefetch_hit_keys_total", {{"tier", "l1"}});
    same(status.prefetch.l2_hit_keys, "terrace_prefetch_hit_keys_total", {{"tier", "l2"}});
    same(status.store.failed_objects, "terrace_store_failed_objects_total");
    same(status.internal_errors, "terrace_internal_errors_total");
    same(status.adapters[1].loads, "terrace_adapter_calls_total", {{"id", "2"}, {"operation", "load"}});
    same(status.adapters[0].stores, "terrace_adapter_calls_total", {{"id", "1"}, {"operation", "store"}});
    same(status.adapters[0].self.used_bytes, "terrace_adapter_used_bytes", {{"id", "1"}, {"adapter", "memory:"}});
}

TEST_CASE("metrics: an engine at work")
{
    world w{{.adapters = 2}};
    w.write("a b c");
    w.put("d");
    (void)w.run(w.prefetch("a b c d"));
    const auto page = page_of(w.manager.status());
    CHECK(page.value("terrace_l1_committed_objects_total") == 3);
    CHECK(page.value("terrace_prefetch_hit_keys_total", {{"tier", "l1"}}) == 3);
    CHECK(page.value("terrace_prefetch_hit_keys_total", {{"tier", "l2"}}) == 1);
    CHECK(page.value("terrace_store_stored_bytes_total") == 6 * object_bytes);
    CHECK(page.value("terrace_adapter_objects", {{"id", "1"}}) == 4);
    CHECK(page.value("terrace_adapter_calls_total", {{"id", "2"}, {"operation", "load"}}) == 0);
    w.close();
}

TEST_CASE("metrics: health is one of three states")
{
    for (const auto health : {adapter_health::healthy, adapter_health::degraded, adapter_health::failed}) {
        engine_status status;
        status.adapters.emplace_back().health = health;
        const auto page = page_of(status);
        for (const std::string state : {"healthy", "degraded", "failed"})
            CHECK(page.value("terrace_adapter_health", {{"state", state}}) == (state == to_string(health) ? 1 : 0));
    }
}

TEST_CASE("metrics: an adapter's name may hold anything")
{
    engine_status status;
    status.adapters.emplace_back().self.name = "file:/a \"quoted\"\\\n\xff";
    const auto page = page_of(status);
    CHECK(page.value("terrace_adapter_objects", {{"adapter", "file:/a \"quoted\"\\\n\xef\xbf\xbd"}}) == 0);
}

TEST_CASE("metrics: constant labels stand in every sample")
{
    engine_status status;
    status.adapters.emplace_back();
    const auto page = page_of(status, {{"model", "llama"}, {"zone", "a\"b"}});
    for (const auto& family : page.families)
        for (const auto& sample : family.samples) {
            CAPTURE(family.name);
            CHECK(sample.labels.at("model") == "llama");
            CHECK(sample.labels.at("zone") == "a\"b");
        }
    CHECK_THROWS_WITH_AS((void)prometheus_text(status, {{"1st", "x"}}),
                         "metric label \"1st\": expected letters, digits and underscores, no digit first",
                         std::invalid_argument);
    for (const std::string ours : {"id", "adapter", "operation", "tier", "state", "le"})
        CHECK_THROWS_WITH_AS((void)prometheus_text(status, {{ours, "x"}}),
                             fmt::format("metric label {:?}: expected none of Terrace's own labels", ours).c_str(),
                             std::invalid_argument);
}

TEST_CASE("metrics: docs/metrics.md has a row for each family, and no other")
{
    std::set<std::string> documented;
    std::istringstream page{docs_page()};
    for (std::string line; std::getline(page, line);)
        if (line.starts_with("| `terrace_"))
            documented.insert(line);
    for (const metric_family& family : metric_families()) {
        CAPTURE(row_of(family));
        CHECK(documented.erase(row_of(family)) == 1);
    }
    for (const std::string& row : documented)
        FAIL_CHECK("no such family: " << row);
}

TEST_CASE("metrics: a histogram counts what took at most as long as each bound")
{
    engine_status status;
    status.prefetch_latency.counts[0] = 2;     // up to 1 us
    status.prefetch_latency.counts[3] = 3;     // up to 10 us
    status.prefetch_latency.counts.back() = 1; // more than 50 s
    status.prefetch_latency.sum_ns = 60'000'000'000;
    const auto page = page_of(status);
    const auto bucket = [&](const char* le) {
        return page.value("terrace_prefetch_latency_seconds_bucket", {{"le", le}});
    };
    CHECK(bucket("1e-06") == 2);
    CHECK(bucket("5e-06") == 2);
    CHECK(bucket("1e-05") == 5);
    CHECK(bucket("50") == 5);
    CHECK(bucket("+Inf") == 6);
    CHECK(page.value("terrace_prefetch_latency_seconds_count") == 6);
    CHECK(page.value("terrace_prefetch_latency_seconds_sum") == 60);
}

TEST_CASE("metrics: how long prefetches and calls took")
{
    world w;
    w.put("a");
    w.l2.loads.shut();
    auto hits = w.start(w.prefetch("a"));
    w.pass(std::chrono::milliseconds{30});
    w.l2.loads.open();
    w.settle();
    REQUIRE(hits.done());
    const auto page = page_of(w.manager.status());
    const auto calls = [&](const char* operation, const char* le) {
        return page.value("terrace_adapter_call_seconds_bucket", {{"operation", operation}, {"le", le}});
    };
    CHECK(calls("lookup", "1e-06") == 1);
    CHECK(calls("load", "0.02") == 0);
    CHECK(calls("load", "0.05") == 1);
    CHECK(page.value("terrace_adapter_call_seconds_sum", {{"operation", "load"}}) == 0.03);
    CHECK(page.value("terrace_prefetch_latency_seconds_sum") == 0.03);
    CHECK(page.value("terrace_prefetch_latency_seconds_count") == 1);
    hits.take();
    w.close();
}
