#include "conformance/subject.hpp"

namespace terrace::conformance {
namespace {

std::vector<subject>& registered() // on first use: registrations come from other sources, in no order
{
    static std::vector<subject> all;
    return all;
}

} // namespace

const std::vector<subject>& subjects()
{
    return registered();
}

registration::registration(subject s)
{
    registered().push_back(std::move(s));
}

} // namespace terrace::conformance
