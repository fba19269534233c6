#include <terrace/l2_adapter.hpp>

namespace terrace {

std::string_view to_string(adapter_health health) noexcept
{
    switch (health) {
    case adapter_health::healthy:
        return "healthy";
    case adapter_health::degraded:
        return "degraded";
    case adapter_health::failed:
        return "failed";
    }
    return "unknown";
}

} // namespace terrace
