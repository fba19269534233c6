// What `terrace` prints, where it cannot be written.

#include <doctest/doctest.h>

#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/wait.h>

#include "support/temporary_directory.hpp"

TEST_CASE("terrace: what could not be printed is a failure, whatever the command")
{
    const terrace::test::temporary_directory at;
    const std::string said = (at.path() / "said").string();
    for (const char* arguments : {"--help", "--version", "replay --help", "config show", "config show --toml", "man",
                                  "completion bash", "generate --conversations 3 --out -"}) {
        CAPTURE(arguments);
        const std::string command = fmt::format("'{}' {} 2>'{}' >", TERRACE_PROGRAM, arguments, said);
        CHECK(WEXITSTATUS(std::system((command + "/dev/full").c_str())) == 1);
        std::ifstream in{said};
        CHECK(std::string{std::istreambuf_iterator<char>{in}, {}}.find("standard output") != std::string::npos);
        CHECK(WEXITSTATUS(std::system((command + "/dev/null").c_str())) == 0);
    }
}
