#include "conformance/subject.hpp"
#include "support/temporary_directory.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <terrace/segment_adapter.hpp>

namespace terrace::conformance {
namespace {

constexpr std::uint64_t block_bytes = 4096;

class segment_place final : public place {
public:
    std::unique_ptr<l2_adapter> open(std::uint64_t capacity_bytes) override
    {
        segment_options options{directory_.path()};
        options.capacity_bytes = capacity_bytes;
        if (capacity_bytes == 0) // otherwise an eighth of it
            options.segment_bytes = 32 << 20;
        return std::make_unique<segment_adapter>(options);
    }

private:
    test::temporary_directory directory_;
};

std::uint64_t record_bytes(std::uint64_t payload_bytes)
{
    return block_bytes + (payload_bytes + block_bytes - 1) / block_bytes * block_bytes;
}

/// Of eight segments one is kept free to write to; so in each of the others there is room for a seventh of the objects
/// and for as many erasures, between its header and its end.
std::uint64_t eight_segments_for(std::uint64_t objects, std::uint64_t bytes)
{
    const std::uint64_t in_one = (objects + 6) / 7;
    return 8 * (in_one * (record_bytes(bytes) + block_bytes) + 2 * block_bytes);
}

/// A part of a directory is left to the snapshot.
std::uint64_t capacity_for(std::uint64_t objects, std::uint64_t bytes)
{
    const std::uint64_t segments = eight_segments_for(objects, bytes);
    const std::uint64_t reserve = std::max<std::uint64_t>(segments / 63 + 1, 32 << 10);
    return std::max<std::uint64_t>(segments + reserve, 1 << 20);
}

/// The same in one file, behind a label.
class volume_place final : public place {
public:
    std::unique_ptr<l2_adapter> open(std::uint64_t capacity_bytes) override
    {
        segment_options options{directory_.path() / "volume"};
        if (capacity_bytes == 0) {
            options.segment_bytes = 32 << 20;
            capacity_bytes = block_bytes + 5 * options.segment_bytes;
        }
        if (capacity_bytes != bytes_) { // another one: a volume has its size for life
            std::filesystem::remove(options.place);
            std::ofstream{options.place}.close();
            std::filesystem::resize_file(options.place, capacity_bytes);
            bytes_ = capacity_bytes;
        }
        return std::make_unique<segment_adapter>(options);
    }

private:
    test::temporary_directory directory_;
    std::uint64_t bytes_ = 0;
};

subject segments()
{
    subject s;
    s.name = "segment";
    s.make_place = [] { return std::make_unique<segment_place>(); };
    s.persists = true;
    s.charge = record_bytes;
    s.capacity_for = capacity_for;
    return s;
}

subject volume()
{
    subject s = segments();
    s.name = "segment, one file";
    s.make_place = [] { return std::make_unique<volume_place>(); };
    s.capacity_for = [](std::uint64_t objects, std::uint64_t bytes) {
        return block_bytes + eight_segments_for(objects, bytes);
    };
    return s;
}

const registration plain{segments()};
const registration one_file{volume()};
const registration behind_faults{wrapped(segments())};

} // namespace
} // namespace terrace::conformance
