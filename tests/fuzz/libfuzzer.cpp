// The program of one target: libFuzzer's, with the target that it was linked with.

#include "fuzz/fuzz.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace {

const terrace::fuzz::target& only_target()
{
    static const terrace::fuzz::target one = terrace::fuzz::targets().at(0);
    return one;
}

void write_seeds(const std::filesystem::path& to)
{
    std::size_t n = 0;
    for (const terrace::fuzz::bytes& seed : only_target().seeds()) {
        std::ofstream file{to / ("seed-" + std::to_string(n++)), std::ios::binary};
        file.write(reinterpret_cast<const char*>(seed.data()), static_cast<std::streamsize>(seed.size()));
        if (!file.flush()) {
            std::fprintf(stderr, "cannot write seeds into %s\n", to.c_str());
            std::exit(1);
        }
    }
}

} // namespace

/// `--write-seeds DIRECTORY` is ours, all other arguments are libFuzzer's.
extern "C" int LLVMFuzzerInitialize(const int* argc, const char* const* const* argv)
{
    if (*argc == 3 && std::string_view{(*argv)[1]} == "--write-seeds") {
        write_seeds((*argv)[2]);
        std::exit(0);
    }
    return 0;
}

/// An exception is a finding: nobody catches it, and it says what does not hold.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    (void)only_target().check(std::as_bytes(std::span{data, size}));
    return 0;
}
