#pragma once

#include "integration/adapter_world.hpp"

#include <string>
#include <sys/stat.h>

#include <terrace/segment_adapter.hpp>

namespace terrace::test {

/// A directory and, one after the other, segment adapters in it.
struct segment_world : adapter_world<segment_adapter> {
    explicit segment_world(std::uint64_t capacity_bytes = 0, std::uint64_t segment_bytes = 1 << 20)
    {
        options.capacity_bytes = capacity_bytes;
        options.segment_bytes = segment_bytes;
        options.threads = 2;
        open();
    }

    /// A start after whatever ended the one before: without close(), there is no snapshot.
    void open()
    {
        adapter.reset();
        adapter = std::make_unique<segment_adapter>(options);
    }
    enum class ending { closed, crashed };
    void reopen(ending how)
    {
        if (how == ending::closed) {
            run(adapter->close());
            CHECK(std::filesystem::exists(directory.path() / "snapshot"));
        }
        open();
        CHECK(!std::filesystem::exists(directory.path() / "snapshot"));
    }

    static constexpr std::size_t payload_bytes = 1000;
    static constexpr std::size_t record_bytes = 2 * block;

    bitmap put(const std::vector<object_key>& which, std::size_t bytes = payload_bytes, bool aligned = false)
    {
        return adapter_world::put(which, bytes, aligned);
    }
    using adapter_world::get;
    bitmap get(const std::vector<object_key>& which) { return get(which, payload_bytes, false); }

    [[nodiscard]] std::filesystem::path segment(int number) const
    {
        return directory.path() / ("segment-00000" + std::to_string(number));
    }
    /// What `du` says.
    [[nodiscard]] std::uint64_t disk_bytes() const
    {
        std::uint64_t blocks = 0;
        struct stat s;
        REQUIRE(::stat(directory.path().c_str(), &s) == 0);
        blocks += static_cast<std::uint64_t>(s.st_blocks);
        for (const auto& entry : std::filesystem::directory_iterator{directory.path()}) {
            REQUIRE(::stat(entry.path().c_str(), &s) == 0);
            blocks += static_cast<std::uint64_t>(s.st_blocks);
        }
        return blocks * 512;
    }

    segment_options options{directory.path()};
};

} // namespace terrace::test
