#include "crash/journal.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <string>
#include <system_error>
#include <unistd.h>

namespace terrace::crash {
namespace {

struct entry {
    std::uint32_t kind;
    std::uint32_t n;
    std::uint64_t version;
};

} // namespace

object_key key(std::uint32_t n)
{
    return {"crash", chunk_hash::from_number(n)};
}

memory_layout layout(std::uint32_t n)
{
    constexpr std::array<std::uint64_t, 6> sizes{4096, 100, 65'536, 5000, 1, 262'144};
    return memory_layout::bytes(sizes[n % sizes.size()] + n / sizes.size());
}

std::vector<std::byte> payload(std::uint32_t n, std::uint64_t version)
{
    std::vector<std::byte> bytes(layout(n).size_bytes());
    std::uint64_t x = (std::uint64_t{n} << 40) + version;
    for (std::byte& b : bytes) {
        x = (x + 0x9e3779b97f4a7c15U) * 6364136223846793005U;
        b = static_cast<std::byte>(x >> 56);
    }
    return bytes;
}

journal::journal(const std::filesystem::path& file)
    : fd_{::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644)}
{
    if (fd_ == -1)
        throw std::system_error(errno, std::system_category(), file.string());
}

journal::~journal()
{
    ::close(fd_);
}

void journal::append(std::uint32_t kind, std::uint32_t n, std::uint64_t version)
{
    const entry e{kind, n, version};
    if (::write(fd_, &e, sizeof e) != sizeof e) // whole, or the process is dead
        throw std::system_error(errno, std::system_category(), "the journal");
}

std::map<std::uint32_t, expectation> read_journal(const std::filesystem::path& file)
{
    std::map<std::uint32_t, expectation> keys;
    std::ifstream in{file, std::ios::binary};
    for (entry e{}; in.read(reinterpret_cast<char*>(&e), sizeof e);) {
        expectation& known = keys[e.n];
        if (e.kind == 0) {
            known.possible.insert(e.version);
        } else {
            known.acknowledged = e.version;
            known.possible.erase(known.possible.begin(), known.possible.find(e.version));
        }
    }
    return keys;
}

} // namespace terrace::crash
