#include "bench/data.hpp"

#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sys/mman.h>

#include "bench/measure.hpp"

namespace terrace::bench {

void fill_random(std::span<std::byte> bytes, std::uint64_t seed)
{
    std::uint64_t state = seed * 0x9e3779b97f4a7c15U + 1;
    auto next = [&state] { // splitmix64 (Steele et al., 2014)
        auto z = state += 0x9e3779b97f4a7c15U;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
    };
    while (!bytes.empty()) {
        const auto word = next();
        const auto n = std::min(bytes.size(), sizeof word);
        std::memcpy(bytes.data(), &word, n);
        bytes = bytes.subspan(n);
    }
}

std::vector<object_key> fresh_keys(std::size_t n)
{
    static std::atomic<std::uint64_t> given{0};
    const object_key first{"bench", chunk_hash::from_number(0)};
    std::vector<object_key> keys;
    keys.reserve(n);
    for (auto number = given.fetch_add(n); keys.size() < n; ++number)
        keys.push_back(first.with_hash(chunk_hash::from_number(number)));
    return keys;
}

void object_pool::free_pages::operator()(std::byte* p) const noexcept
{
    std::free(p);
}

object_pool::object_pool(std::size_t objects, std::size_t object_bytes)
    : objects_{objects},
      object_bytes_{object_bytes},
      // Objects as L1 lays them out: at pages, or packed if they are smaller.
      stride_{object_bytes < 4096 ? std::bit_ceil(object_bytes) : (object_bytes + 4095) / 4096 * 4096}
{
    constexpr std::size_t huge_page = std::size_t{2} << 20;
    const auto bytes = (objects_ * stride_ + huge_page - 1) / huge_page * huge_page;
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(huge_page, bytes)));
    if (memory_ == nullptr)
        throw std::bad_alloc{};
    ::madvise(memory_.get(), bytes, MADV_HUGEPAGE); // as L1 asks for
    fill_random({memory_.get(), bytes}, objects);
}

std::span<std::byte> object_pool::object(std::size_t i) const
{
    return {memory_.get() + i % objects_ * stride_, object_bytes_};
}

copy_ceiling::copy_ceiling(std::size_t from_objects, std::size_t to_objects, std::size_t object_bytes)
    : from_{from_objects, object_bytes},
      to_{to_objects, object_bytes}
{
}

double copy_ceiling::copy(std::size_t n)
{
    const stopwatch watch;
    for (std::size_t i = 0; i < n; ++i, ++next_)
        std::memcpy(to_.object(next_).data(), from_.object(next_).data(), from_.object_bytes());
    return watch.seconds();
}

} // namespace terrace::bench
