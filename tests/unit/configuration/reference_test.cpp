// What is written about settings, for people: the reference page and the sample file.

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include <terrace/adapter_registry.hpp>
#include <terrace/setting.hpp>

using namespace terrace;

namespace {

std::string text_of(const std::string& path)
{
    std::ifstream file{std::string{TERRACE_SOURCE_DIR "/"} + path};
    return {std::istreambuf_iterator<char>{file}, {}};
}

template <class Target>
std::string reference_row(const basic_setting<Target>& s, const Target& defaults)
{
    std::string value = s.get(defaults);
    if (!s.unit.empty())
        value = fmt::format("{} {}", value, s.unit);
    const std::string member = s.member.empty() ? "" : fmt::format("`{}`", s.member);
    return fmt::format("| `{}` | {} | {} | {} | {} | {} |", s.key, s.type, value, s.range, s.meaning, member);
}

/// The sample with everything that it shows as a comment, in force.
std::string uncommented(const std::string& sample)
{
    std::string text;
    std::istringstream lines{sample};
    for (std::string line; std::getline(lines, line);)
        text += (line.starts_with("#") && !line.starts_with("# ") ? line.substr(1) : line) + "\n";
    return text;
}

configuration read_sample(std::string text)
{
    configuration_sources sources;
    sources.file = configuration_file{"terrace.toml", std::move(text)};
    sources.check_adapter = check_adapter;
    return read_configuration(sources);
}

} // namespace

TEST_CASE("configuration: docs/configuration.md has a row for each setting, and no other")
{
    std::multiset<std::string> documented;
    std::istringstream page{text_of("docs/configuration.md")};
    for (std::string line; std::getline(page, line);)
        if (line.starts_with("| `"))
            documented.insert(line);
    const auto expect = [&](const std::string& row) {
        CAPTURE(row);
        const auto found = documented.find(row);
        CHECK(found != documented.end());
        if (found != documented.end())
            documented.erase(found);
    };
    for (const setting& s : settings())
        expect(reference_row(s, configuration{}));
    for (const adapter_setting& s : adapter_settings())
        expect(reference_row(s, configured_adapter{}));
    for (const std::string& row : documented)
        FAIL_CHECK("no such setting: " << row);
}

TEST_CASE("configuration: the sample file can be used, and has every setting with its default")
{
    const std::string sample = text_of("examples/terrace.toml");
    const configuration used = read_sample(sample);
    CHECK(used.adapters.size() == 1);
    const configuration all = read_sample(uncommented(sample));
    for (const setting& s : settings()) {
        CAPTURE(s.key);
        CHECK(all.origins.contains(s.key));
        if (!used.origins.contains(s.key))
            CHECK(s.get(all) == s.get(configuration{}));
    }
    for (const adapter_setting& s : adapter_settings()) {
        CAPTURE(s.key);
        const std::string key = "adapters[0]." + s.key;
        CHECK(all.origins.contains(key));
        if (!used.origins.contains(key))
            CHECK(s.get(all.adapters.at(0)) == s.get(configured_adapter{}));
    }
}
