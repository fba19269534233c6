#include "conformance/subject.hpp"

#include <algorithm>

#include <terrace/fault_adapter.hpp>

namespace terrace::conformance {
namespace {

/// Another subject's place, whose adapters come wrapped. Without rules nobody can tell.
class wrapped_place final : public place {
public:
    explicit wrapped_place(std::unique_ptr<place> inner) : inner_{std::move(inner)} {}

    std::unique_ptr<l2_adapter> open(std::uint64_t capacity_bytes) override
    {
        return make_fault_adapter(inner_->open(capacity_bytes), std::make_shared<fault_control>());
    }

private:
    std::unique_ptr<place> inner_;
};

} // namespace

subject wrapped(subject s)
{
    s.name = "fault over " + s.name;
    s.make_place = [inner = s.make_place] { return std::make_unique<wrapped_place>(inner()); };
    return s;
}

} // namespace terrace::conformance
