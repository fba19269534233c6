#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <terrace/l2_adapter.hpp>

#include "bench/raw_files.hpp"
#include "bench/workload.hpp"

namespace terrace::bench {

/// Where the objects of a row lie.
struct place {
    std::string name;                           ///< "file, tmpfs"
    std::string spec;                           ///< of the adapter, without the directory: see adapter_registry.hpp
    std::optional<raw_files::cache> cache = {}; ///< of the files that it is compared with; none: it is memory
    std::filesystem::path parent = {};          ///< of its directory and of theirs
    bool segment = false;                       ///< one large file for all objects

    [[nodiscard]] bool in_memory() const noexcept { return !cache; }
    [[nodiscard]] bool past_the_page_cache() const noexcept { return cache == raw_files::cache::direct; }
};

/// Memory; files on tmpfs, on the disk through the page cache and past it; segments.
[[nodiscard]] std::vector<place> places(const bench_options& options);

/// An adapter in a directory of its own, which goes with it.
class placed_adapter {
public:
    explicit placed_adapter(const place& where);
    placed_adapter(const placed_adapter&) = delete;
    placed_adapter& operator=(const placed_adapter&) = delete;
    ~placed_adapter();

    /// Once: the engine takes it. It must be gone before *this is.
    [[nodiscard]] std::unique_ptr<l2_adapter> take() { return std::move(adapter_); }
    [[nodiscard]] l2_adapter& adapter() { return *adapter_; }

private:
    std::filesystem::path directory_;
    std::unique_ptr<l2_adapter> adapter_;
};

/// The files that a place is compared with; null for memory.
[[nodiscard]] std::unique_ptr<raw_files> raw_files_for(const place& where, std::size_t objects,
                                                       std::size_t object_bytes, std::size_t depth = 0);

/// "64 x 1 MiB".
[[nodiscard]] std::string batch_text(std::size_t objects, std::size_t object_bytes);

} // namespace terrace::bench
