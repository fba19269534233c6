#include "conformance/subject.hpp"

#include <cstdlib>
#include <stdexcept>

namespace terrace::conformance {
namespace {

std::vector<subject>& registered() // on first use: registrations come from other sources, in no order
{
    static std::vector<subject> all;
    return all;
}

/// What the environment leaves of them. doctest 2.4.9's own filter of subcases at one level never ends.
std::vector<subject> selected()
{
    const char* wanted = std::getenv("TERRACE_ADAPTER");
    std::vector<subject> some = registered();
    if (wanted != nullptr)
        std::erase_if(some, [&](const subject& s) { return s.name.find(wanted) == std::string::npos; });
    if (some.empty())
        throw std::invalid_argument(std::string{"TERRACE_ADAPTER: no adapter's name has \""} + wanted + "\" in it");
    return some;
}

} // namespace

const std::vector<subject>& subjects()
{
    static const std::vector<subject> some = selected();
    return some;
}

registration::registration(subject s)
{
    registered().push_back(std::move(s));
}

} // namespace terrace::conformance
