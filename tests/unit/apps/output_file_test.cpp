#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <unistd.h>

#include "replay/output_file.hpp"

using namespace terrace::replay;
namespace fs = std::filesystem;

namespace {

/// A directory of the test's own.
class scratch {
public:
    scratch() : path{fs::temp_directory_path() / ("terrace-output-" + std::to_string(::getpid()))}
    {
        fs::create_directories(path);
    }
    ~scratch() { fs::remove_all(path); }

    fs::path path;
};

std::string content(const fs::path& file)
{
    std::ifstream in{file};
    return {std::istreambuf_iterator<char>{in}, {}};
}

std::size_t files_in(const fs::path& directory)
{
    return static_cast<std::size_t>(std::distance(fs::directory_iterator{directory}, {}));
}

} // namespace

TEST_CASE("output file: it appears when it is committed, and replaces what was there")
{
    scratch dir;
    const auto path = dir.path / "out";
    for (const char* text : {"first", "second"}) {
        const auto before = content(path);
        output_file out{path};
        out.stream() << text;
        out.stream().flush();
        CHECK(content(path) == before);
        out.commit();
        CHECK(content(path) == text);
    }
    CHECK(files_in(dir.path) == 1);
}

TEST_CASE("output file: without a commit nothing is left of it")
{
    scratch dir;
    output_file{dir.path / "out"}.stream() << "half";
    CHECK(files_in(dir.path) == 0);
}

TEST_CASE("output file: a path that cannot be written is refused when it is opened")
{
    CHECK_THROWS_WITH_AS(output_file{"/no/such/directory/out"},
                         "/no/such/directory/out: cannot be opened for writing: No such file or directory",
                         std::system_error);
    scratch dir;
    CHECK_THROWS_AS(output_file{dir.path}, std::system_error);
}

TEST_CASE("output file: what is no plain file is written to, not replaced")
{
    output_file out{"/dev/null"};
    out.stream() << "text";
    out.commit();
    CHECK(fs::is_character_file("/dev/null"));
}

TEST_CASE("output file: a full device is an error")
{
    if (!fs::exists("/dev/full"))
        return;
    output_file out{"/dev/full"};
    out.stream() << "text";
    CHECK_THROWS_WITH_AS(out.commit(), "/dev/full: cannot be written: No space left on device", std::system_error);
}
