#include "conformance/subject.hpp"

#include <terrace/memory_adapter.hpp>

namespace terrace::conformance {
namespace {

class memory_place final : public place {
public:
    explicit memory_place(memory_options options) : options_{std::move(options)} {}

    std::unique_ptr<l2_adapter> open(std::uint64_t capacity_bytes) override
    {
        memory_options options = options_;
        options.capacity_bytes = capacity_bytes;
        return std::make_unique<memory_adapter>(options);
    }

private:
    memory_options options_;
};

subject memory(std::string name, memory_options options)
{
    subject s;
    s.name = std::move(name);
    s.make_place = [options] { return std::make_unique<memory_place>(options); };
    s.capacity_for = [](std::uint64_t objects, std::uint64_t bytes) { return objects * bytes; };
    return s;
}

memory_options evicting_by(std::string policy)
{
    memory_options options;
    options.eviction = std::move(policy);
    return options;
}

memory_options that_take_time()
{
    memory_options options;
    options.latency = std::chrono::microseconds{100}; // long enough to be cancelled in
    options.bandwidth_bytes_per_second = std::uint64_t{1} << 36;
    return options;
}

const registration plain{memory("memory", {})};
const registration behind_faults{wrapped(memory("memory", {}))};
const registration s3fifo{memory("memory, s3fifo", evicting_by("s3fifo"))};
const registration slow{memory("memory, with latency and bandwidth", that_take_time())};

} // namespace
} // namespace terrace::conformance
