#include "simulation/truth.hpp"

#include <cstring>
#include <fmt/format.h>

namespace terrace::simulation {
namespace {

struct head {
    std::uint64_t n;
    std::uint64_t version;
};

std::byte at(std::uint64_t n, std::uint64_t version, std::size_t i)
{
    std::uint64_t x = (n << 48) ^ (version << 16) ^ i;
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdU;
    return static_cast<std::byte>(x >> 56);
}

std::uint32_t number_of(const object_key& key)
{
    std::uint32_t n = 0;
    for (const std::byte b : key.hash().bytes())
        n = n << 8 | std::to_integer<std::uint32_t>(b);
    return n;
}

} // namespace

object_key truth::key(std::uint32_t n)
{
    const char* salts[] = {"", "tenant-a", "tenant-b"};
    return {"m", chunk_hash::from_number(n), 0, 0, salts[n / 4 % 3]};
}

memory_layout truth::layout(std::uint32_t n)
{
    return memory_layout::bytes(n / 16 % 2 == 0 ? 1024 : 600);
}

void truth::fill(std::uint32_t n, std::uint64_t version, std::span<std::byte> bytes)
{
    const head h{n, version};
    std::memcpy(bytes.data(), &h, sizeof h);
    for (std::size_t i = sizeof h; i < bytes.size(); ++i)
        bytes[i] = at(n, version, i);
}

std::string truth::problem(const object_key& key, std::span<const std::byte> bytes) const
{
    const std::uint32_t n = number_of(key);
    head h{};
    std::memcpy(&h, bytes.data(), sizeof h);
    const auto known = versions_.find(n);
    if (h.n != n)
        return fmt::format("object {} has the bytes of object {}", n, h.n);
    if (known == versions_.end() || !known->second.contains(h.version))
        return fmt::format("object {} is readable in version {}, which was never committed", n, h.version);
    for (std::size_t i = sizeof h; i < bytes.size(); ++i)
        if (bytes[i] != at(n, h.version, i))
            return fmt::format("object {} is torn: version {} up to byte {}", n, h.version, i);
    return {};
}

std::string truth::problem(const read_lease& lease) const
{
    for (std::size_t i = 0; i < lease.size(); ++i)
        if (auto p = problem(lease.key(i), lease.bytes(i)); !p.empty())
            return p;
    return {};
}

} // namespace terrace::simulation
