#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <terrace/memory_layout.hpp>
#include <terrace/object_key.hpp>
#include <terrace/read_lease.hpp>

namespace terrace::simulation {

/// What should be there: which versions of which object were ever committed. An object's bytes say whose and which
/// version they are, from the first to the last, so that anything else a reader could see is recognised.
class truth {
public:
    /// Objects 0 to 15 have one layout, 16 to 31 another, and so on.
    [[nodiscard]] static object_key key(std::uint32_t n);
    [[nodiscard]] static memory_layout layout(std::uint32_t n);

    [[nodiscard]] std::uint64_t new_version() { return ++last_version_; }
    static void fill(std::uint32_t n, std::uint64_t version, std::span<std::byte> bytes);
    void committed(std::uint32_t n, std::uint64_t version) { versions_[n].insert(version); }

    /// What is wrong with an object as a reader sees it; empty: nothing.
    [[nodiscard]] std::string problem(const object_key& key, std::span<const std::byte> bytes) const;
    [[nodiscard]] std::string problem(const read_lease& lease) const;

private:
    std::uint64_t last_version_ = 0;
    std::map<std::uint32_t, std::set<std::uint64_t>> versions_;
};

} // namespace terrace::simulation
