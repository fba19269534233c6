#pragma once

#include "support/temporary_directory.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <doctest/doctest.h>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <terrace/bitmap.hpp>
#include <terrace/l2_adapter.hpp>

// What the tests of adapters on real files have in common.

namespace terrace::test {

inline constexpr std::size_t block = 4096; ///< what direct I/O wants addresses, offsets and lengths in

inline object_key key(std::uint64_t n)
{
    return object_key{"model", chunk_hash::from_number(n)};
}

inline std::vector<object_key> keys(std::initializer_list<std::uint64_t> numbers)
{
    std::vector<object_key> made;
    for (const std::uint64_t n : numbers)
        made.push_back(key(n));
    return made;
}

/// The keys from first to last.
inline std::vector<object_key> keys_to(std::uint64_t first, std::uint64_t last)
{
    std::vector<object_key> made;
    for (std::uint64_t n = first; n <= last; ++n)
        made.push_back(key(n));
    return made;
}

inline bitmap bits(std::initializer_list<bool> values)
{
    bitmap made{values.size()};
    std::size_t i = 0;
    for (const bool value : values)
        made.set(i++, value);
    return made;
}

/// Memory that starts on a block, or one byte after.
class memory {
public:
    explicit memory(std::size_t bytes, bool aligned = true) : room_(bytes + block + 1)
    {
        void* at = room_.data();
        std::size_t space = room_.size();
        std::align(block, bytes, at, space);
        bytes_ = {static_cast<std::byte*>(at) + (aligned ? 0 : 1), bytes};
    }
    [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

private:
    std::vector<std::byte> room_;
    std::span<std::byte> bytes_;
};

/// Bytes that differ from object to object and from place to place.
inline void fill(std::span<std::byte> to, std::uint64_t seed)
{
    std::uint64_t x = seed * 0x9e3779b97f4a7c15U + 1;
    for (std::byte& b : to) {
        x = x * 6364136223846793005U + 1442695040888963407U;
        b = static_cast<std::byte>(x >> 56);
    }
}
inline std::vector<std::byte> content(std::uint64_t seed, std::size_t bytes)
{
    std::vector<std::byte> made(bytes);
    fill(made, seed);
    return made;
}

/// A number that belongs to the key in every process: hash_code() depends on the order in which models came.
inline std::uint64_t seed_of(const object_key& k)
{
    std::uint64_t n = 0;
    for (const std::byte b : k.hash().bytes())
        n = n << 8 | std::to_integer<std::uint64_t>(b);
    return n + 1;
}
inline std::vector<std::byte> content(const object_key& k, std::size_t bytes)
{
    return content(seed_of(k), bytes);
}

/// An executor and, one after the other, adapters. The object of a key holds content(key).
template <class Adapter>
struct adapter_world {
    template <class T>
    T run(asio::awaitable<T> operation)
    {
        std::optional<T> answer;
        std::exception_ptr failed;
        asio::co_spawn(context, std::move(operation), [&](std::exception_ptr e, T value) {
            failed = e;
            answer.emplace(std::move(value));
        });
        context.restart();
        context.run();
        REQUIRE(answer.has_value()); // run() waits for what the threads do
        if (failed)
            std::rethrow_exception(failed);
        return std::move(*answer);
    }
    void run(asio::awaitable<void> operation)
    {
        std::optional<std::exception_ptr> ended;
        asio::co_spawn(context, std::move(operation), [&](std::exception_ptr e) { ended = e; });
        context.restart();
        context.run();
        REQUIRE(ended.has_value());
        if (*ended)
            std::rethrow_exception(*ended);
    }

    bitmap put(const std::vector<object_key>& which, std::size_t bytes, bool aligned = true,
               store_mode mode = store_mode::replace)
    {
        std::vector<memory> payloads;
        std::vector<store_item> items;
        for (const object_key& k : which) {
            fill(payloads.emplace_back(bytes, aligned).bytes(), seed_of(k));
            items.emplace_back(k, memory_layout::bytes(bytes), payloads.back().bytes(), mode);
        }
        return run(adapter->store(items));
    }
    /// Which keys load; checks that what does is what put() stored.
    bitmap get(const std::vector<object_key>& which, const memory_layout& layout, bool aligned = true)
    {
        std::vector<memory> buffers;
        std::vector<load_item> items;
        for (const object_key& k : which) {
            buffers.emplace_back(layout.size_bytes(), aligned);
            items.emplace_back(k, layout, buffers.back().bytes());
        }
        const bitmap loaded = run(adapter->load(items));
        loaded.for_each_set([&](std::size_t i) {
            CHECK(std::ranges::equal(buffers[i].bytes(), content(which[i], layout.size_bytes())));
        });
        return loaded;
    }
    bitmap get(const std::vector<object_key>& which, std::size_t bytes, bool aligned = true)
    {
        return get(which, memory_layout::bytes(bytes), aligned);
    }
    bitmap lookup(const std::vector<object_key>& which) { return run(adapter->lookup_and_lock(which)); }
    void unlock(const std::vector<object_key>& which) { run(adapter->unlock(which)); }
    /// Which keys are there; nothing is locked or used.
    bitmap has(const std::vector<object_key>& which)
    {
        const bitmap found = lookup(which);
        unlock(which);
        return found;
    }
    bitmap erase(const std::vector<object_key>& which) { return run(adapter->erase(which)); }
    [[nodiscard]] adapter_status status() const { return adapter->status(); }

    asio::io_context context; // outlives the adapter's threads
    temporary_directory directory;
    std::unique_ptr<Adapter> adapter;
};

inline std::vector<char> bytes_of(const std::filesystem::path& path)
{
    std::vector<char> bytes(std::filesystem::file_size(path));
    std::ifstream{path, std::ios::binary}.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return bytes;
}

/// An unsigned number of so many bytes, little-endian.
inline std::uint64_t number_at(std::span<const char> file, std::size_t offset, std::size_t bytes)
{
    std::uint64_t n = 0;
    for (std::size_t i = bytes; i-- != 0;)
        n = n << 8 | static_cast<unsigned char>(file[offset + i]);
    return n;
}

inline void write_file(const std::filesystem::path& path, std::span<const char> bytes)
{
    std::filesystem::create_directories(path.parent_path());
    std::ofstream{path, std::ios::binary}.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline void write_at(const std::filesystem::path& path, std::size_t offset, std::span<const char> bytes)
{
    std::fstream file{path, std::ios::binary | std::ios::in | std::ios::out};
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    REQUIRE(file.good());
}

inline void flip_bit(const std::filesystem::path& path, std::size_t offset)
{
    std::fstream file{path, std::ios::binary | std::ios::in | std::ios::out};
    file.seekg(static_cast<std::streamoff>(offset));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 1));
    REQUIRE(file.good());
}

} // namespace terrace::test
