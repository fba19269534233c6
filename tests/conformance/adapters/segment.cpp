#include "conformance/subject.hpp"
#include "support/temporary_directory.hpp"

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
        options.segment_bytes = 32 << 20;
        return std::make_unique<segment_adapter>(options);
    }

private:
    test::temporary_directory directory_;
};

/// Without a capacity: how many objects one has room for depends on how they fall into segments. What happens when it
/// is reached is in the adapter's own tests.
subject segments()
{
    subject s;
    s.name = "segment";
    s.make_place = [] { return std::make_unique<segment_place>(); };
    s.persists = true;
    s.charge = [](std::uint64_t bytes) { return block_bytes + (bytes + block_bytes - 1) / block_bytes * block_bytes; };
    return s;
}

const registration plain{segments()};
const registration behind_faults{wrapped(segments())};

} // namespace
} // namespace terrace::conformance
