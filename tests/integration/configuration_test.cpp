// `terrace config`, and what `terrace replay` takes from a configuration.

#include <doctest/doctest.h>

#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/wait.h>

#include "support/temporary_directory.hpp"

namespace {

namespace fs = std::filesystem;
using terrace::test::temporary_directory;

/// A directory with files in it, and the program run there.
struct workplace {
    temporary_directory directory;

    void write(const std::string& name, const std::string& text) const
    {
        std::ofstream{directory.path() / name} << text;
    }
    std::string said(const std::string& name) const
    {
        std::ifstream in{directory.path() / name};
        return {std::istreambuf_iterator<char>{in}, {}};
    }
    /// The exit status; what was said is in "out" and "err". `before` may set variables.
    int run(const std::string& arguments, const std::string& before = "") const
    {
        const std::string command = fmt::format("cd '{}' && {} '{}' {} >out 2>err", directory.path().string(), before,
                                                TERRACE_PROGRAM, arguments);
        return WEXITSTATUS(std::system(command.c_str()));
    }
};

} // namespace

TEST_CASE("terrace config check: 0 for a file that is right, 2 with all that is wrong with another")
{
    const workplace w;
    w.write("good.toml", "[l1]\ncapacity = \"16 MiB\"\n[[adapters]]\nspec = \"file:/not/opened\"\n");
    CHECK(w.run("config check good.toml") == 0);
    CHECK(w.said("out") == "good.toml: nothing wrong (settings: 1, adapters: 1)\n");
    CHECK(w.said("err") == "");

    w.write("bad.toml", "[l1]\ncapacity = \"1 KiB\"\nslices = 1\n");
    CHECK(w.run("config check bad.toml") == 2);
    CHECK(w.said("out") == "");
    CHECK(w.said("err") == "terrace: bad.toml:2: l1.capacity: \"1 KiB\" is out of range; expected 4 KiB to 128 TiB\n"
                           "terrace: bad.toml:3: l1.slices: unknown key; did you mean l1.slice?\n");

    CHECK(w.run("config check none.toml") == 2);
    CHECK(w.said("err") == "terrace: cannot read the configuration none.toml: No such file or directory\n");
}

TEST_CASE("terrace config show: what counts, and where it comes from")
{
    const workplace w;
    w.write("c.toml", "[l1]\ncapacity = \"16 MiB\"\nslice = \"4 MiB\"\n");
    CHECK(w.run("config show --config c.toml --set eviction.policy=s3fifo", "TERRACE_L1_CAPACITY=32MiB") == 0);
    const std::string table = w.said("out");
    CHECK(table.find("TERRACE_L1_CAPACITY\n") != std::string::npos);
    CHECK(table.find("c.toml:3\n") != std::string::npos);
    CHECK(table.find("--set\n") != std::string::npos);

    CHECK(w.run("config show --config c.toml --toml") == 0);
    w.write("shown.toml", w.said("out"));
    CHECK(w.run("config check shown.toml") == 0);

    CHECK(w.run("config show --set l1.capacity") == 2);
    CHECK(w.said("err") == "terrace: --set \"l1.capacity\": expected KEY=VALUE, such as l1.capacity=16GiB\n");
    CHECK(w.run("config show --set l1.capacity=much") == 2);
    CHECK(w.run("config show", "TERRACE_L1_SIZE=1GiB") == 2);
    CHECK(w.said("err").starts_with("terrace: TERRACE_L1_SIZE: unknown variable"));
}

TEST_CASE("terrace replay: the configuration's L1, policies and adapters; its log on standard error")
{
    const workplace w;
    w.write("c.toml", "[l1]\ncapacity = \"4 MiB\"\n"
                      "[[adapters]]\nspec = \"fault:memory:;lookup=throw\"\nbreaker.failures = 2\n");
    REQUIRE(w.run("generate --conversations 5 --out trace.jsonl") == 0);
    CHECK(w.run("replay --trace trace.jsonl --config c.toml --object-bytes 4KiB") == 1); // as calls failed
    CHECK(w.said("out").find("L1 4 MiB over fault:memory:;lookup=throw") != std::string::npos);
    CHECK(w.said("out").find("fault:memory:  failed, ") != std::string::npos);
    const std::string logged = w.said("err");
    CHECK(logged.find(" warning adapter call_failed: a lookup in fault:memory: failed: ") != std::string::npos);
    CHECK(logged.find(" warning adapter breaker_opened: lookups in fault:memory: stop for 1 s: 2 failed one after the "
                      "other, the last one with: ") != std::string::npos);
    CHECK(logged.find(" info ") == std::string::npos);

    CHECK(w.run("replay --trace trace.jsonl --config c.toml --l1 8MiB --l2 memory: --log info --object-bytes 4KiB") ==
          0);
    CHECK(w.said("out").find("L1 8 MiB over memory:;") != std::string::npos);
    CHECK(w.said("err").find(" info engine closed: ") != std::string::npos);

    CHECK(w.run("replay --trace trace.jsonl --config c.toml --l2 memory: --log off --object-bytes 4KiB") == 0);
    CHECK(w.said("err") == "");
    CHECK(w.run("replay --trace trace.jsonl --l1 lots") == 2);
    CHECK(w.said("err").starts_with("terrace: --l1: l1.capacity: \"lots\" is not a size"));
}
