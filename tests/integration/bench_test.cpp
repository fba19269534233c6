#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include "support/temporary_directory.hpp"

namespace {

namespace fs = std::filesystem;
using terrace::test::temporary_directory;

/// Runs `terrace bench` with these arguments, its files below a directory; the exit status as the shell gives it.
int bench(const fs::path& directory, const std::string& arguments)
{
    const auto command = fmt::format("'{}' bench {} --quick --directory '{}' >'{}' 2>&1", TERRACE_PROGRAM, arguments,
                                     directory.string(), (directory / "said").string());
    return std::system(command.c_str());
}

nlohmann::json json_in(const fs::path& file)
{
    std::ifstream in{file};
    return nlohmann::json::parse(in);
}

bool is_number(const nlohmann::json& value)
{
    return value.is_number() && std::isfinite(value.get<double>());
}

void check_row(const nlohmann::json& row)
{
    CAPTURE(row.dump());
    CHECK(!row.at("name").get<std::string>().empty());
    CHECK(!row.at("unit").get<std::string>().empty());
    CHECK(row.at("params").is_object());
    CHECK(row.at("runs") == 2);
    REQUIRE(is_number(row.at("median")));
    CHECK(row.at("min") <= row.at("median"));
    CHECK(row.at("median") <= row.at("max"));
    if (row.at("name") != "dropped")
        CHECK(row.at("median") > 0);
    if (const auto& ceiling = row.at("ceiling"); !ceiling.is_null()) {
        CHECK(!ceiling.at("name").get<std::string>().empty());
        CHECK(ceiling.at("median") > 0);
        CHECK(is_number(row.at("ratio")));
    }
    if (const auto& cpu = row.at("cpu"); !cpu.is_null()) {
        CHECK(!cpu.at("unit").get<std::string>().empty());
        CHECK(is_number(cpu.at("median")));
    }
    if (const auto& target = row.at("target"); !target.is_null()) {
        CHECK(!target.at("text").get<std::string>().empty());
        CHECK(target.at("met").is_boolean());
    }
}

std::set<std::string> names_in(const fs::path& directory)
{
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator{directory})
        names.insert(entry.path().filename().string());
    return names;
}

} // namespace

TEST_CASE("bench: every workload runs, and all its rows are in the JSON")
{
    const temporary_directory place;
    const auto json = place.path() / "rows.json";
    const auto html = place.path() / "rows.html";
    REQUIRE(bench(place.path(), fmt::format("all --json '{}' --html '{}'", json.string(), html.string())) == 0);

    const auto answer = json_in(json);
    for (const char* fact : {"cpu", "cores", "memory", "kernel", "compiler", "build_type", "date"})
        CHECK(!answer.at("machine").at(fact).get<std::string>().empty());
    std::set<std::string> workloads;
    std::set<std::string> names;
    for (const auto& row : answer.at("rows")) {
        check_row(row);
        workloads.insert(row.at("workload"));
        const auto name =
            fmt::format("{} {} {}", row.at("workload").dump(), row.at("name").dump(), row.at("params").dump());
        CHECK_MESSAGE(names.insert(name).second, name, " stands there twice");
    }
    CHECK(workloads ==
          std::set<std::string>{"adapter", "l1", "load", "prefetch", "replay", "scale", "slow-tier", "store"});
    CHECK(fs::file_size(html) > 10'000);

    // Nothing of what was measured is left.
    CHECK(names_in(place.path()) == std::set<std::string>{"rows.html", "rows.json", "said"});
}

TEST_CASE("bench: what cannot be measured is refused, and no file is left")
{
    const temporary_directory place;
    const auto json = place.path() / "rows.json";
    CHECK(bench(place.path(), fmt::format("l1 --runs 0 --json '{}'", json.string())) != 0);
    CHECK(bench(place.path(), fmt::format("replay --trace nowhere --json '{}'", json.string())) != 0);
    CHECK(bench(place.path(), "everything") != 0);
    CHECK(!fs::exists(json));
}

TEST_CASE("bench: nothing is left when a terminal goes, or whoever reads what it prints")
{
    const temporary_directory place;
    fs::create_directory(place.path() / "memory");
    // What has begun is on the disk when the first benchmark is announced.
    const auto after_the_first_line = [&](const char* then) {
        const auto command =
            fmt::format("cd '{}'; '{}' bench all --quick --tmpfs memory 2>said | {{ grep -m1 -q ^l1: && {}; }}",
                        place.path().string(), TERRACE_PROGRAM, then);
        return std::system(command.c_str());
    };
    SUBCASE("SIGHUP")
    {
        CHECK(after_the_first_line("kill -HUP $(ls memory | sed s/terrace-bench-//) && cat >/dev/null") == 0);
    }
    SUBCASE("a closed pipe")
    {
        CHECK(after_the_first_line("true") == 0);
    }
    CHECK(names_in(place.path()) == std::set<std::string>{"memory", "said"});
    CHECK(names_in(place.path() / "memory").empty());
}

TEST_CASE("bench: what one that was killed has left is removed, and nothing else")
{
    const temporary_directory place;
    const auto make = [&](const std::string& name) { fs::create_directories(place.path() / name / "objects-1"); };
    const pid_t child = ::fork();
    if (child == 0)
        ::_exit(0);
    ::waitpid(child, nullptr, 0);
    const std::set<std::string> others{fmt::format("terrace-bench-{}", ::getpid()), "terrace-bench-",
                                       "terrace-bench-1x", "bench-2"};
    make(fmt::format("terrace-bench-{}", child));
    for (const std::string& name : others)
        make(name);
    CHECK(bench(place.path(), "l1 --tmpfs ''") == 0);
    auto left = others;
    left.insert("said");
    CHECK(names_in(place.path()) == left);
}
