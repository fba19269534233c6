#include "simulation/truth.hpp"

#include <array>
#include <cstring>
#include <fmt/format.h>
#include <unordered_map>

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

object_key make_key(std::uint32_t n)
{
    constexpr std::uint32_t kinds = truth::objects_of_a_kind;
    const char* salts[] = {"", "tenant-a", "tenant-b"};
    const auto hash = chunk_hash::from_number(n < 2 * kinds ? n : n - 2 * kinds);
    const auto salt = n / 4 % 3;
    if (n < 2 * kinds)
        return {"m", hash, 0, 0, salts[salt]};
    const auto twin = (n - 2 * kinds) / 4 % 3; // the salt of the one that it is like
    switch (n % 4) {
    case 0:
        return {"m", hash, 0, 0, salts[(twin + 1) % 3]};
    case 1:
        return {"n", hash, 0, 0, salts[twin]};
    case 2:
        return {"m", hash, 1, 0, salts[twin]};
    default:
        return {"m", hash, 0, 1, salts[twin]};
    }
}

/// Every object's key, and the way back.
struct names {
    names()
    {
        for (std::uint32_t n = 0; n < truth::objects; ++n) {
            keys.push_back(make_key(n));
            numbers.emplace(keys.back(), n);
        }
    }
    std::vector<object_key> keys;
    std::unordered_map<object_key, std::uint32_t> numbers;
};

const names& all_names()
{
    static const names all;
    return all;
}

/// By size, then by kind.
const memory_layout& layout_of(std::uint32_t n, bool other)
{
    static const std::array<memory_layout, 4> layouts{
        memory_layout::bytes(1024), memory_layout{{tensor{{2, 512}, dtype::u8}}}, memory_layout::bytes(600),
        memory_layout{{tensor{{2, 300}, dtype::u8}}}};
    return layouts.at((n / truth::objects_of_a_kind % 2 == 0 ? 0U : 2U) + (other ? 1U : 0U));
}

} // namespace

const object_key& truth::key(std::uint32_t n)
{
    return all_names().keys.at(n);
}

std::vector<object_key> truth::keys(const std::vector<std::uint32_t>& numbers)
{
    std::vector<object_key> result;
    result.reserve(numbers.size());
    for (const std::uint32_t n : numbers)
        result.push_back(key(n));
    return result;
}

std::uint32_t truth::number(const object_key& key)
{
    return all_names().numbers.at(key);
}

const memory_layout& truth::layout(std::uint32_t n)
{
    return layout_of(n, false);
}

const memory_layout& truth::other_layout(std::uint32_t n)
{
    return layout_of(n, true);
}

void truth::fill(std::uint32_t n, std::uint64_t version, std::span<std::byte> bytes)
{
    const head h{n, version};
    std::memcpy(bytes.data(), &h, sizeof h);
    for (std::size_t i = sizeof h; i < bytes.size(); ++i)
        bytes[i] = at(n, version, i);
}

std::uint64_t truth::version(std::span<const std::byte> bytes)
{
    head h{};
    std::memcpy(&h, bytes.data(), sizeof h);
    return h.version;
}

std::string truth::problem(const object_key& key, std::span<const std::byte> bytes, const memory_layout* layout) const
{
    const std::uint32_t n = number(key);
    if (bytes.size() != truth::layout(n).size_bytes())
        return fmt::format("object {} has {} bytes", n, bytes.size());
    head h{};
    std::memcpy(&h, bytes.data(), sizeof h);
    if (h.n != n)
        return fmt::format("object {} has the bytes of object {}", n, h.n);
    const auto known = committed_.find(h.version);
    if (known == committed_.end() || known->second.n != n)
        return fmt::format("object {} is readable in version {}, which was never committed", n, h.version);
    if (layout != nullptr && layout->fingerprint() != known->second.fingerprint)
        return fmt::format("object {} is in version {}, which has another layout", n, h.version);
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
