#include <doctest/doctest.h>
#include <fmt/format.h>
#include <set>
#include <stdexcept>

#include <terrace/adapter_registry.hpp>
#include <terrace/configuration.hpp>
#include <terrace/quota_table.hpp>
#include <terrace/setting.hpp>

using namespace terrace;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t one_gib = std::uint64_t{1} << 30;

configuration_sources from_file(std::string text)
{
    configuration_sources sources;
    sources.file = configuration_file{"t.toml", std::move(text)};
    sources.check_adapter = check_adapter;
    return sources;
}

configuration read_file(std::string text)
{
    return read_configuration(from_file(std::move(text)));
}

std::vector<std::string> problems_of(const configuration_sources& sources)
{
    try {
        (void)read_configuration(sources);
    } catch (const configuration_error& e) {
        return e.problems();
    }
    return {};
}

std::vector<std::string> problems_in(std::string text)
{
    return problems_of(from_file(std::move(text)));
}

/// The only one.
std::string problem_in(std::string text)
{
    const auto all = problems_in(std::move(text));
    REQUIRE(all.size() == 1);
    return all.front();
}

const setting& setting_of(std::string_view key)
{
    for (const setting& s : settings())
        if (s.key == key)
            return s;
    throw std::out_of_range(std::string{key});
}

} // namespace

TEST_CASE("configuration: nothing said, everything is as the engine has it")
{
    const configuration values = read_configuration({});
    CHECK(values.engine.l1.capacity_bytes == config{}.l1.capacity_bytes);
    CHECK(values.adapters.empty());
    CHECK(values.origins.empty());
    CHECK(setting_of("l1.capacity").get(values) == "1 GiB");
}

TEST_CASE("configuration: a file sets values of every kind")
{
    const configuration values = read_file(R"(
close_timeout = "1.5 s"
random_seed = 7

[l1]
capacity = "16 GiB"
alignment = 512
huge_pages = "reserved"
numa_node = 1
pinned_limit = 0.25

[eviction]
policy = "isolated_lru"
high_watermark = 1

[eviction.quotas]
tenant-a = "2 GiB"
"tenant.b" = 4096

[prefetch]
policy = "retain"
requests_waiting = 0
late_loads = "discard"

[store]
policy = "second_touch?history=1024"

[log]
level = "off"
format = "json"
)");
    const config& engine = values.engine;
    CHECK(engine.close_timeout == 1500ms);
    CHECK(engine.random_seed == 7);
    CHECK(engine.l1.capacity_bytes == 16 * one_gib);
    CHECK(engine.l1.alignment_bytes == 512);
    CHECK(engine.l1.huge_pages == huge_page_mode::reserved);
    CHECK(engine.l1.numa_node == 1);
    CHECK(engine.pinned_limit == 0.25);
    CHECK(engine.eviction.policy == "isolated_lru");
    CHECK(engine.eviction.high_watermark == 1);
    REQUIRE(engine.eviction.quotas != nullptr);
    CHECK(engine.eviction.quotas->find("tenant-a") == 2 * one_gib);
    CHECK(engine.eviction.quotas->find("tenant.b") == 4096);
    CHECK(engine.prefetch->name() == "retain");
    CHECK(engine.prefetch_limits.requests_waiting == 0);
    CHECK(engine.late_loads == late_load_policy::discard);
    CHECK(engine.store->name() == "second_touch");
    CHECK(setting_of("store.policy").get(values) == "second_touch?history=1024");
    CHECK_FALSE(values.log_level);
    CHECK_FALSE(values.log());
    CHECK(values.log_format == log_format::json);
}

TEST_CASE("configuration: a flag goes before the environment, that before the file, that before the default")
{
    auto sources = from_file("[l1]\ncapacity = \"2 GiB\"\nslice = \"2 MiB\"\nprefault_threads = 2\n");
    sources.environment = {{"TERRACE_L1_CAPACITY", "3 GiB"}, {"TERRACE_L1_SLICE", "4MiB"}};
    sources.flags = {{"--l1", "l1.capacity", "4GiB"}};
    configuration defaults;
    defaults.engine.l1.prefault = prefault_mode::at_start;
    const configuration values = read_configuration(sources, defaults);
    CHECK(values.engine.l1.capacity_bytes == 4 * one_gib);
    CHECK(values.engine.l1.slice_bytes == 4 << 20);
    CHECK(values.engine.l1.prefault_threads == 2);
    CHECK(values.engine.l1.prefault == prefault_mode::at_start);
    CHECK(values.origins == std::map<std::string, std::string>{{"l1.capacity", "--l1"},
                                                               {"l1.slice", "TERRACE_L1_SLICE"},
                                                               {"l1.prefault_threads", "t.toml:4"}});
}

TEST_CASE("configuration: of one flag given twice the last counts")
{
    configuration_sources sources;
    sources.flags = {{"--l1", "l1.capacity", "1GiB"}, {"--set", "l1.capacity", "2GiB"}};
    CHECK(read_configuration(sources).engine.l1.capacity_bytes == 2 * one_gib);
}

TEST_CASE("configuration: adapters have options, in their order")
{
    const configuration values = read_file(R"(
[[adapters]]
spec = "memory:?capacity=1GiB"
load_timeout = "250 ms"
store_queue_full = "drop_oldest"
breaker.failures = 3

[[adapters]]
spec = "memory:"
[adapters.store_retries]
attempts = 1
)");
    REQUIRE(values.adapters.size() == 2);
    CHECK(values.adapters[0].spec == "memory:?capacity=1GiB");
    CHECK(values.adapters[0].options.load_timeout == 250ms);
    CHECK(values.adapters[0].options.store_queue_full == full_queue_policy::drop_oldest);
    CHECK(values.adapters[0].options.breaker.failures == 3);
    CHECK(values.adapters[1].options.store_retries.attempts == 1);
    CHECK(values.adapters[1].options.load_timeout == adapter_options{}.load_timeout);
    CHECK(values.origins.at("adapters[1].store_retries.attempts") == "t.toml:11");
}

TEST_CASE("configuration: adapters of a source are in place of those of the sources below it")
{
    auto sources = from_file("adapters = [\"memory:?capacity=1MiB\", \"memory:?capacity=2MiB\"]\n");
    const auto specs = [&] {
        std::string all;
        for (const auto& adapter : read_configuration(sources).adapters)
            all += adapter.spec + " ";
        return all;
    };
    CHECK(specs() == "memory:?capacity=1MiB memory:?capacity=2MiB ");
    sources.environment = {{"TERRACE_ADAPTERS", "memory:?capacity=3MiB  memory:?capacity=4MiB"}};
    CHECK(specs() == "memory:?capacity=3MiB memory:?capacity=4MiB ");
    sources.flags = {{"--l2", "adapters", "memory:?capacity=5MiB"}, {"--l2", "adapters", "memory:?capacity=6MiB"}};
    CHECK(specs() == "memory:?capacity=5MiB memory:?capacity=6MiB ");
    sources.flags.clear();
    sources.environment = {{"TERRACE_ADAPTERS", ""}};
    CHECK(specs() == "");
}

TEST_CASE("configuration: an error names place, key, value and what was expected")
{
    struct row {
        const char* text;
        const char* problem;
    };
    for (const row& r : {
             row{"[l1]\ncapacity = \"12 parsecs\"",
                 "t.toml:2: l1.capacity: \"12 parsecs\" is not a size; expected a number of bytes such as 4096, 64KiB "
                 "or 1.5GiB"},
             row{"l1.capacity = \"1 KiB\"",
                 "t.toml:1: l1.capacity: \"1 KiB\" is out of range; expected 4 KiB to 128 TiB"},
             row{"l1.alignment = 100",
                 "t.toml:1: l1.alignment: \"100\" is out of range; expected 64 B to 2 MiB, a power of two"},
             row{"l1.prefault_threads = 257", "t.toml:1: l1.prefault_threads: \"257\" is out of range; expected 0 to "
                                              "256; 0: one for each core, 8 at most"},
             row{"prefetch.requests_in_flight = -1",
                 "t.toml:1: prefetch.requests_in_flight: \"-1\" is not a whole number; expected at least 1"},
             row{"l1.huge_pages = true",
                 "t.toml:1: l1.huge_pages: \"true\" is unknown; expected off, transparent or reserved"},
             row{"l1.pinned_limit = \"half\"", "t.toml:1: l1.pinned_limit: \"half\" is not a share; expected 0 to 1"},
             row{"l1.pinned_limit = nan", "t.toml:1: l1.pinned_limit: \"nan\" is out of range; expected 0 to 1"},
             row{"eviction.high_watermark = 0",
                 "t.toml:1: eviction.high_watermark: \"0\" is out of range; expected more than 0, at most 1"},
             row{"close_timeout = 5", "t.toml:1: close_timeout: \"5\" is not a duration; expected a number with a unit "
                                      "of ns, us, ms, s, min or h, such as 10us"},
             row{"close_timeout = \"5us\"",
                 "t.toml:1: close_timeout: \"5us\" is not in whole milliseconds; expected 1 ms to a year"},
             row{"close_timeout = \"0s\"", "t.toml:1: close_timeout: \"0s\" is out of range; expected 1 ms to a year"},
             row{"l1.numa_node = 1024",
                 "t.toml:1: l1.numa_node: \"1024\" is out of range; expected 0 to 1023, or none: "
                 "wherever the kernel likes"},
             row{"log.level = \"loud\"",
                 "t.toml:1: log.level: \"loud\" is unknown; expected off, debug, info, warning or error"},
             row{"l1.capacity = [1]", "t.toml:1: l1.capacity is an array; expected a string, a number, true or false"},
             row{"l1.slice = 2026-01-01",
                 "t.toml:1: l1.slice is a date or a time; expected a string, a number, true or false"},
             row{"eviction.quotas.a = \"much\"", "t.toml:1: eviction.quotas.a: \"much\" is not a size; expected a "
                                                 "number of bytes such as 4096, 64KiB or 1.5GiB"},
             row{"adapters = 1",
                 "t.toml:1: adapters is a single value; expected tables such as [[adapters]], or an array of specs"},
             row{"adapters = [1]", "t.toml:1: an adapter is a single value; expected a table or a spec"},
             row{"[[adapters]]\nload_timeout = \"1s\"",
                 "t.toml:1: adapters[0].spec: missing; expected one such as \"file:/var/cache/terrace\""},
             row{"adapters = [\"memory:\", \"tape:/x\"]",
                 "t.toml:1: adapters[1].spec: adapter \"tape:/x\": unknown "
                 "type \"tape\"; expected one of memory, file, segment, fault"},
             row{"adapters = [\"fault:memory:?colour=red\"]",
                 "t.toml:1: adapters[0].spec: adapter \"memory:?colour=red\": unknown option \"colour\"; expected one "
                 "of capacity, eviction, latency, bandwidth"},
         }) {
        CAPTURE(r.text);
        CHECK(problem_in(r.text) == r.problem);
    }
}

TEST_CASE("configuration: an unknown key is an error, with the key that was meant")
{
    CHECK(problem_in("[l1]\ncapcity = 4096") == "t.toml:2: l1.capcity: unknown key; did you mean l1.capacity?");
    CHECK(problem_in("capacity = 4096") == "t.toml:1: capacity: unknown key; did you mean l1.capacity?");
    CHECK(problem_in("[l1.capacity]\nbytes = 1") == "t.toml:2: l1.capacity.bytes: unknown key");
    CHECK(problem_in("\"a\\nb\" = 1") == "t.toml:1: a\\x0ab: unknown key");
    CHECK(problem_in("[daemon]\nport = 1") == "t.toml:2: daemon.port: unknown key");
    CHECK(problem_in("[[adapter]]\nspec = \"memory:\"") == "t.toml:1: adapter: unknown key; did you mean adapters?");
    CHECK(problem_in("[[adapters]]\nspec = \"memory:\"\nload_timout = \"1s\"") ==
          "t.toml:3: adapters[0].load_timout: unknown key; did you mean load_timeout?");
}

TEST_CASE("configuration: what is no TOML is named with line and column")
{
    CHECK(problem_in("[l1]\ncapacity = ").starts_with("t.toml:2:"));
    CHECK(problem_in("[l1]\ncapacity = 1\ncapacity = 2").starts_with("t.toml:3:"));
}

TEST_CASE("configuration: everything that is wrong is reported, wherever it stands")
{
    auto sources = from_file("[l1]\ncapacity = 1\nslice = 0\ninitial = []\n[eviction]\npolcy = \"lru\"\n");
    sources.environment = {{"TERRACE_PREFETCH_POLICY", "keep"}, {"TERRACE_L1_CAPACTY", "1GiB"}};
    sources.flags = {{"--eviction", "eviction.policy", "fifo"}, {"--set", "l1", "1"}};
    CHECK(problems_of(sources) ==
          std::vector<std::string>{
              "t.toml:2: l1.capacity: \"1\" is out of range; expected 4 KiB to 128 TiB",
              "t.toml:3: l1.slice: \"0\" is out of range; expected 1 B to 128 TiB",
              "t.toml:4: l1.initial is an array; expected a string, a number, true or false",
              "t.toml:6: eviction.polcy: unknown key; did you mean eviction.policy?",
              "TERRACE_PREFETCH_POLICY: prefetch.policy: prefetch policy \"keep\" is unknown; expected default or "
              "retain",
              "TERRACE_L1_CAPACTY: unknown variable; did you mean TERRACE_L1_CAPACITY?",
              "--eviction: eviction.policy: eviction policy \"fifo\" is unknown; expected lru, s3fifo, isolated_lru or "
              "none",
              "--set: l1: unknown key",
          });
    try {
        (void)read_configuration(sources);
        FAIL("it was accepted");
    } catch (const configuration_error& e) {
        CHECK(std::string_view{e.what()}.find("slice") != std::string_view::npos);
        CHECK(std::string_view{e.what()}.find("fifo") != std::string_view::npos);
    }
}

TEST_CASE("configuration: variables that are no section's are somebody else's")
{
    configuration_sources sources;
    sources.environment = {{"TERRACE_CRASH_ROUNDS", "7"}, {"TERRACE_ADAPTER", "file"}};
    CHECK_NOTHROW((void)read_configuration(sources));
}

TEST_CASE("configuration: what does not go together is named by its keys")
{
    CHECK(problem_in("[l1]\ncapacity = \"1 GiB\"\ninitial = \"2 GiB\"") ==
          "t.toml:3: l1.initial is 2147483648; expected 0 for all, or at most l1.capacity, which is 1073741824");
    CHECK(problem_in("eviction.high_watermark = 0.5") ==
          "t.toml:1: eviction.low_watermark is 0.9; expected 0 to eviction.high_watermark, which is 0.5");
    CHECK(problem_in("[[adapters]]\nspec = \"memory:\"\nstore_retries.backoff = \"10 s\"") ==
          "t.toml:1: adapters[0]: store_retries.backoff is 10000; expected 1 ms to max_backoff, which is 5000 ms");
    CHECK(problem_in("[[adapters]]\nspec = \"memory:\"\nbreaker.cool_down = \"2 min\"") ==
          "t.toml:1: adapters[0]: breaker: max_cool_down is 60000 ms; expected 120000, the cool_down, to 86400000");
}

TEST_CASE("configuration: what a setting takes, the engine takes, and what it refuses the engine would refuse")
{
    struct row {
        const char* key;
        const char* least;
        const char* below;
    };
    for (const row& r : {row{"l1.capacity", "4096", "4095"}, row{"l1.alignment", "64", "32"}, row{"l1.slice", "1", "0"},
                         row{"prefetch.requests_in_flight", "1", "0"}, row{"prefetch.window", "1", "0"},
                         row{"prefetch.room_timeout", "1ms", "0s"}, row{"close_timeout", "1ms", "0s"}}) {
        CAPTURE(r.key);
        configuration values;
        values.engine.l1.alignment_bytes = 64;
        CHECK_THROWS_AS(setting_of(r.key).set(values, r.below), std::invalid_argument);
        setting_of(r.key).set(values, r.least);
        CHECK_NOTHROW(check(values.engine));
    }
    configuration values;
    values.engine.l1.slice_bytes = 0;
    CHECK_THROWS_WITH_AS(check(values.engine), "l1.slice_bytes is 0; expected 1 to 2^47", std::invalid_argument);
    adapter_options options;
    for (const adapter_setting& s : adapter_settings()) {
        if (s.type != "duration")
            continue;
        configured_adapter adapter;
        CAPTURE(s.key);
        CHECK_THROWS_AS(s.set(adapter, "0s"), std::invalid_argument);
    }
    options.load_timeout = 0ms;
    CHECK_THROWS_WITH_AS(check(options), "adapter_options.load_timeout is 0; expected 1 ms to a year",
                         std::invalid_argument);
}

TEST_CASE("configuration: what a setting shows, it takes")
{
    for (const setting& s : settings()) {
        CAPTURE(s.key);
        configuration values;
        const std::string before = s.get(values);
        s.set(values, before);
        CHECK(s.get(values) == before);
    }
    for (const adapter_setting& s : adapter_settings()) {
        CAPTURE(s.key);
        configured_adapter adapter{"memory:", {}};
        const std::string before = s.get(adapter);
        s.set(adapter, before);
        CHECK(s.get(adapter) == before);
    }
}

TEST_CASE("configuration: each key has a variable of its own")
{
    CHECK(environment_variable("l1.huge_pages") == "TERRACE_L1_HUGE_PAGES");
    std::set<std::string> names;
    for (const setting& s : settings())
        CHECK(names.insert(environment_variable(s.key)).second);
}

TEST_CASE("configuration: shown as a table, each setting has its value, its unit and its origin")
{
    auto sources = from_file("[eviction.quotas]\na = 4096\n[[adapters]]\nspec = \"memory:\"\n");
    sources.flags = {{"--l1", "l1.capacity", "2GiB"}};
    const std::string table = to_table(read_configuration(sources));
    const auto has_line = [&](std::string_view key, std::string_view value, std::string_view origin) {
        std::size_t at = 0;
        while (at < table.size()) {
            const std::string line = table.substr(at, table.find('\n', at) - at);
            at += line.size() + 1;
            if (line.starts_with(fmt::format("{} ", key)))
                return line.find(fmt::format("  {}  ", value)) != line.npos &&
                       line.ends_with(fmt::format("  {}", origin));
        }
        return false;
    };
    CAPTURE(table);
    CHECK(has_line("l1.capacity", "2 GiB ", "--l1"));
    CHECK(has_line("prefetch.requests_in_flight", "256 requests", "default"));
    CHECK(has_line("eviction.high_watermark", "0.95 of L1", "default"));
    CHECK(has_line("eviction.quotas.a", "4 KiB ", "t.toml:2"));
    CHECK(has_line("adapters[0].spec", "memory: ", "t.toml:4"));
    CHECK(has_line("adapters[0].load_timeout", "10 s ", "default"));
}

TEST_CASE("configuration: shown as TOML, it is the same when it is read again")
{
    auto sources = from_file(R"(
random_seed = "18446744073709551615"
[l1]
capacity = "3 GiB"
[eviction]
high_watermark = 1.0
[eviction.quotas]
"a.b" = "1 MiB"
[store]
policy = "write_budget?rate=1MiB"
[[adapters]]
spec = 'fault:memory:;load=delay:5ms'
breaker.failures = 9
[[adapters]]
spec = "memory:"
)");
    const configuration values = read_configuration(sources);
    const std::string text = to_toml(values);
    const configuration again = read_file(text);
    CHECK(again.adapters.size() == 2);
    CHECK(again.engine.random_seed == ~std::uint64_t{0});
    for (const setting& s : settings()) {
        CAPTURE(s.key);
        CHECK(s.get(again) == s.get(values));
        CHECK(again.origins.contains(s.key));
    }
    CHECK(again.engine.eviction.quotas->list() == values.engine.eviction.quotas->list());
    for (std::size_t i = 0; i < 2; ++i)
        for (const adapter_setting& s : adapter_settings())
            CHECK(s.get(again.adapters[i]) == s.get(values.adapters[i]));
    CHECK(text.find("capacity = \"3 GiB\" # t.toml:4\n") != std::string::npos);
}

TEST_CASE("configuration: quotas of the defaults stay in force as they are, whatever is read over them")
{
    configuration live;
    live.engine.eviction.quotas = std::make_shared<quota_table>();
    live.engine.eviction.quotas->set("a", 4096);
    live.engine.eviction.quotas->set("b", 4096);
    const configuration read = read_configuration(from_file("[eviction.quotas]\na = 8192\n"), live);
    CHECK(read.engine.eviction.quotas->find("a") == 8192);
    CHECK(read.engine.eviction.quotas->find("b") == 4096);
    CHECK(live.engine.eviction.quotas->find("a") == 4096);
}

TEST_CASE("configuration: a file that is not there is named")
{
    CHECK_THROWS_WITH_AS((void)configuration_file::read("/does/not/exist.toml"),
                         "cannot read the configuration /does/not/exist.toml: No such file or directory",
                         std::system_error);
    CHECK_THROWS_WITH_AS((void)configuration_file::read("/"), "cannot read the configuration /: Is a directory",
                         std::system_error);
}
