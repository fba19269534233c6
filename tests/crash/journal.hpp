#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <vector>

#include <terrace/memory_layout.hpp>
#include <terrace/object_key.hpp>

namespace terrace::crash {

// What the writer stores: so many keys, each in many versions over time. Its size goes by the key, so that a layout
// fits every version of it; its bytes go by key and version, from the first to the last.
inline constexpr std::uint32_t key_count = 400;

[[nodiscard]] object_key key(std::uint32_t n);
[[nodiscard]] memory_layout layout(std::uint32_t n);
[[nodiscard]] std::vector<std::byte> payload(std::uint32_t n, std::uint64_t version);

/// What the writer meant to do and what it was told is done, on disk: a process that is killed leaves what it wrote.
class journal {
public:
    explicit journal(const std::filesystem::path& file);
    ~journal();
    journal(const journal&) = delete;
    journal& operator=(const journal&) = delete;

    void will_store(std::uint32_t n, std::uint64_t version) { append(0, n, version); }
    void has_stored(std::uint32_t n, std::uint64_t version) { append(1, n, version); }

private:
    void append(std::uint32_t kind, std::uint32_t n, std::uint64_t version);
    int fd_;
};

/// What a journal says of one key.
struct expectation {
    std::uint64_t acknowledged = 0;   ///< the latest version that was; 0: none, and the key may be missing
    std::set<std::uint64_t> possible; ///< versions that may be found
};

[[nodiscard]] std::map<std::uint32_t, expectation> read_journal(const std::filesystem::path& file);

} // namespace terrace::crash
