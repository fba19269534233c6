// Configuration files.

#include "fuzz/fuzz.hpp"

#include <fmt/format.h>

#include <terrace/adapter_registry.hpp>
#include <terrace/configuration.hpp>
#include <terrace/quota_table.hpp>
#include <terrace/setting.hpp>

namespace terrace::fuzz {
namespace {

configuration read_text(std::string text)
{
    configuration_sources sources;
    sources.file = configuration_file{"f.toml", std::move(text)};
    sources.check_adapter = check_adapter;
    return read_configuration(sources);
}

/// All values, whatever they come from.
std::string values_of(const configuration& values)
{
    std::string all;
    for (const setting& s : settings())
        all += fmt::format("{}={}\n", s.key, s.get(values));
    if (values.engine.eviction.quotas != nullptr)
        for (const auto& quota : values.engine.eviction.quotas->list())
            all += fmt::format("{:?}={}\n", quota.salt, quota.bytes);
    for (const configured_adapter& adapter : values.adapters)
        for (const adapter_setting& s : adapter_settings())
            all += fmt::format("{}={}\n", s.key, s.get(adapter));
    return all;
}

verdict check_configuration(bytes_view input)
{
    configuration values;
    try {
        values = read_text(std::string{as_text(input)});
    } catch (const configuration_error& e) {
        expect(!e.problems().empty(), "what is refused has a problem");
        for (const std::string& problem : e.problems())
            expect(problem.starts_with("f.toml:") && problem.find('\n') == problem.npos,
                   "a problem names its place, and is one line: " + problem);
        return verdict::refused;
    }
    expect(to_table(values).size() > values_of(values).size(), "the table has every value");
    const std::string toml = to_toml(values);
    configuration again;
    try {
        again = read_text(toml);
    } catch (const configuration_error& e) {
        throw broken(fmt::format("what is shown can be read: {}\n{}", e.what(), toml));
    }
    expect(values_of(again) == values_of(values), "what is shown is the same when it is read again: " + toml);
    return verdict::accepted;
}

std::vector<bytes> configuration_seeds()
{
    return as_seeds(
        {"", "[l1]\ncapacity = \"16 GiB\"\nalignment = 512\nhuge_pages = \"reserved\"\nnuma_node = 1\n",
         "l1.pinned_limit = 0.25\nclose_timeout = \"1.5 s\"\nrandom_seed = \"none\"\n",
         "[eviction]\npolicy = \"isolated_lru\"\nhigh_watermark = 1\n[eviction.quotas]\n\"a.b\" = \"2GiB\"\n",
         "[prefetch]\npolicy = \"retain\"\nwindow = 1\nroom_timeout = \"1 min\"\nlate_loads = \"discard\"\n",
         "[store]\npolicy = \"write_budget?rate=100MiB&burst=1GiB\"\n[log]\nlevel = \"off\"\n",
         "adapters = [\"memory:\", 'file:/x?capacity=1GiB', \"fault:memory:;load=delay:5ms\"]\n",
         "[[adapters]]\nspec = \"memory:\"\nbreaker.failures = 3\n[adapters.store_retries]\nattempts = 1\n",
         "[l1]\ncapcity = 1\n", "[l1]\ncapacity = \n", "[l1]\ncapacity = \"1KiB\"\ncapacity = 2\n",
         "[[adapters]]\nload_timeout = \"1s\"\n", "adapters = [\"tape:\"]\n", "l1.initial = \"2GiB\"\n",
         "l1.capacity = 2026-01-01\n", "l1 = [1]\n"});
}

const registration configuration_target{{"configuration", check_configuration, configuration_seeds}};

} // namespace
} // namespace terrace::fuzz
