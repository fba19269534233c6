// The adapter of examples/custom_adapter: what readers copy keeps the whole contract.

#include "conformance/subject.hpp"
#include "custom_adapter/store_adapter.hpp"

namespace terrace::conformance {
namespace {

class store_place final : public place {
public:
    explicit store_place(std::chrono::microseconds round_trip) : store_{std::make_shared<blocking_store>(round_trip)} {}

    std::unique_ptr<l2_adapter> open(std::uint64_t capacity_bytes) override
    {
        return std::make_unique<store_adapter>(store_, capacity_bytes);
    }

private:
    std::shared_ptr<blocking_store> store_;
};

subject example(std::string name, std::chrono::microseconds round_trip)
{
    subject s;
    s.name = std::move(name);
    s.make_place = [round_trip] { return std::make_unique<store_place>(round_trip); };
    s.persists = true;
    s.capacity_for = [](std::uint64_t objects, std::uint64_t bytes) { return objects * bytes; };
    return s;
}

const registration plain{example("example", {})};
const registration slow{example("example, with round trips", std::chrono::microseconds{50})}; // so that calls meet

} // namespace
} // namespace terrace::conformance
