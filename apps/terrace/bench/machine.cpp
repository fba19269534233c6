#include "bench/machine.hpp"

#include <chrono>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fstream>
#include <string_view>
#include <sys/utsname.h>
#include <thread>

#include <terrace/text_options.hpp>
#include <terrace/version.hpp>

#include "bench/measure.hpp"

namespace terrace::bench {
namespace {

/// What follows "name ... :" in the first line of the file that begins with it.
std::string line_of(const char* file, std::string_view name)
{
    std::ifstream in{file};
    for (std::string line; std::getline(in, line);)
        if (const auto colon = line.find(": "); line.starts_with(name) && colon != std::string::npos)
            return line.substr(line.find_first_not_of(' ', colon + 1));
    return "unknown";
}

std::string memory()
{
    std::ifstream in{"/proc/meminfo"};
    std::string name;
    std::uint64_t kib = 0;
    return in >> name >> kib ? fmt::format("{:.1f} GiB", static_cast<double>(kib) / 0x1p20) : "unknown";
}

std::string first_line(const char* file)
{
    std::ifstream in{file};
    std::string line;
    return std::getline(in, line) ? line : "unknown";
}

std::string kernel()
{
    utsname name{};
    return ::uname(&name) == 0 ? fmt::format("{} {}", name.sysname, name.release) : "unknown";
}

constexpr std::string_view compiler =
#ifdef __clang__
    "clang " __clang_version__;
#else
    "gcc " __VERSION__;
#endif

} // namespace

std::vector<std::pair<std::string, std::string>> describe_machine()
{
    return {
        {"date", fmt::format("{:%Y-%m-%d %H:%M:%S} UTC",
                             fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())))},
        {"cpu", line_of("/proc/cpuinfo", "model name")},
        {"cores", fmt::to_string(std::thread::hardware_concurrency())},
        {"memory", memory()},
        {"huge_pages", first_line("/sys/kernel/mm/transparent_hugepage/enabled")},
        {"kernel", kernel()},
        {"load", first_line("/proc/loadavg")},
        {"compiler", std::string{compiler}},
        {"build_type", TERRACE_BUILD_TYPE},
        {"version", TERRACE_VERSION},
    };
}

} // namespace terrace::bench
