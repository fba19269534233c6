#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <terrace/memory_layout.hpp>
#include <terrace/object_key.hpp>
#include <terrace/read_lease.hpp>
#include <terrace/write_lease.hpp>

namespace terrace::simulation {

/// What should be there: which versions of which object were ever committed, and under which layout. An object's bytes
/// say whose and which version they are, from the first to the last, so that anything else a reader could see is
/// recognised.
class truth {
public:
    /// Objects 0 to 15 and 16 to 31 are two groups of one prompt, of 1024 and 600 bytes. Each of 32 to 47 differs from
    /// one of the first sixteen in its salt, its model, its rank or its group alone.
    static constexpr std::uint32_t objects = 48;
    static constexpr std::uint32_t objects_of_a_kind = 16;
    [[nodiscard]] static const object_key& key(std::uint32_t n);
    [[nodiscard]] static std::vector<object_key> keys(const std::vector<std::uint32_t>& numbers);
    [[nodiscard]] static std::uint32_t number(const object_key& key);
    /// What requests ask for.
    [[nodiscard]] static const memory_layout& layout(std::uint32_t n);
    /// Of as many bytes, and another one all the same.
    [[nodiscard]] static const memory_layout& other_layout(std::uint32_t n);

    [[nodiscard]] std::uint64_t new_version() { return ++last_version_; }
    static void fill(std::uint32_t n, std::uint64_t version, std::span<std::byte> bytes);
    [[nodiscard]] static std::uint64_t version(std::span<const std::byte> bytes);
    void committed(std::uint32_t n, std::uint64_t version, const memory_layout& layout, write_mode mode)
    {
        committed_.emplace(version, commit{n, layout.fingerprint(), mode != write_mode::new_only});
    }
    /// Whether these bytes are to replace those of an older version.
    [[nodiscard]] bool overwrites(std::uint64_t version) const
    {
        const auto known = committed_.find(version);
        return known != committed_.end() && known->second.overwrites;
    }

    /// What is wrong with an object as a reader sees it; empty: nothing.
    /// layout  that it was asked for under; null: any
    [[nodiscard]] std::string problem(const object_key& key, std::span<const std::byte> bytes,
                                      const memory_layout* layout = nullptr) const;
    [[nodiscard]] std::string problem(const read_lease& lease) const;

private:
    std::uint64_t last_version_ = 0;
    struct commit {
        std::uint32_t n = 0;
        std::uint64_t fingerprint = 0; // of its layout
        bool overwrites = false;
    };
    std::unordered_map<std::uint64_t, commit> committed_; // by version
};

} // namespace terrace::simulation
