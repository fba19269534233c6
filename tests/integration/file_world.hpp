#pragma once

#include "integration/adapter_world.hpp"

#include <string>

#include <terrace/file_adapter.hpp>

namespace terrace::test {

inline constexpr std::size_t header_bytes = 4096;
inline constexpr std::size_t payload_bytes = 4096; // whole pages, so that they can be moved directly
inline constexpr std::size_t file_bytes = header_bytes + payload_bytes;

/// The ways of a file_adapter, one after the other.
struct on_ring { // where the kernel has it
    static constexpr file_io io = file_io::automatic;
    static constexpr direct_io direct = direct_io::on;
};
struct on_threads {
    static constexpr file_io io = file_io::threads;
    static constexpr direct_io direct = direct_io::on;
};
struct cached {
    static constexpr file_io io = file_io::automatic;
    static constexpr direct_io direct = direct_io::off;
};

/// A directory and, one after the other, file adapters in it.
template <class How = on_ring>
struct file_world : adapter_world<file_adapter> {
    explicit file_world(std::uint64_t capacity_bytes = 0, std::uint32_t threads = 2)
    {
        options.capacity_bytes = capacity_bytes;
        options.threads = threads;
        options.io = How::io;
        options.direct = How::direct;
        open();
    }

    void open()
    {
        adapter.reset();
        adapter = std::make_unique<file_adapter>(options);
    }
    bitmap put(const std::vector<object_key>& which, std::size_t bytes = payload_bytes)
    {
        return adapter_world::put(which, bytes);
    }
    using adapter_world::get;
    bitmap get(const std::vector<object_key>& which) { return get(which, payload_bytes); }

    /// All files, in no order: the objects' and what else there is.
    [[nodiscard]] std::vector<std::filesystem::path> files() const
    {
        std::vector<std::filesystem::path> found;
        for (const auto& entry : std::filesystem::recursive_directory_iterator{directory.path()})
            if (entry.is_regular_file())
                found.push_back(entry.path());
        return found;
    }
    [[nodiscard]] std::filesystem::path file_of(const object_key& k) const
    {
        for (const std::filesystem::path& path : files())
            if (path.filename() == k.to_string() + ".kv")
                return path;
        FAIL("no file of ", k.to_string());
        return {};
    }

    file_options options{directory.path()};
};

} // namespace terrace::test
