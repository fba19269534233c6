#include "adapter_registry.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <stdexcept>

#include <terrace/adapter_spec.hpp>
#include <terrace/fault_adapter.hpp>
#include <terrace/file_adapter.hpp>
#include <terrace/memory_adapter.hpp>
#include <terrace/segment_adapter.hpp>

namespace terrace::apps {
namespace {

struct adapter_type {
    std::string_view name;
    std::unique_ptr<l2_adapter> (*make)(adapter_spec);
};

std::unique_ptr<l2_adapter> make_faulty(adapter_spec spec)
{
    return make_fault_adapter(spec, &make_adapter);
}

/// A new adapter takes one line here.
constexpr std::array adapters{
    adapter_type{"memory", &make_memory_adapter},
    adapter_type{"file", &make_file_adapter},
    adapter_type{"segment", &make_segment_adapter},
    adapter_type{"fault", &make_faulty},
};

} // namespace

std::unique_ptr<l2_adapter> make_adapter(std::string_view spec)
{
    auto parsed = adapter_spec::parse(spec);
    const auto* type = std::ranges::find(adapters, parsed.type(), &adapter_type::name);
    if (type == adapters.end())
        throw std::invalid_argument(
            fmt::format("adapter {:?}: unknown type {:?}; expected one of {}", spec, parsed.type(), adapter_types()));
    return type->make(std::move(parsed));
}

std::string adapter_types()
{
    std::string names;
    for (const auto& type : adapters)
        names += fmt::format("{}{}", names.empty() ? "" : ", ", type.name);
    return names;
}

} // namespace terrace::apps
