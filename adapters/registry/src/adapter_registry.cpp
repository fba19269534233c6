#include <terrace/adapter_registry.hpp>

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <stdexcept>

#include <terrace/adapter_spec.hpp>
#include <terrace/fault_adapter.hpp>
#include <terrace/file_adapter.hpp>
#include <terrace/memory_adapter.hpp>
#include <terrace/segment_adapter.hpp>

namespace terrace {
namespace {

struct adapter_type {
    std::string_view name;
    std::unique_ptr<l2_adapter> (*make)(adapter_spec);
    void (*check)(adapter_spec);
};

std::unique_ptr<l2_adapter> make_faulty(adapter_spec spec)
{
    return make_fault_adapter(spec, &make_adapter);
}

void check_faulty(adapter_spec spec)
{
    (void)make_fault_adapter(spec, [](std::string_view wrapped) {
        check_adapter(wrapped);
        return make_adapter("memory:"); // in its place: it holds nothing
    });
}

/// A new adapter takes one line here.
constexpr std::array adapters{
    adapter_type{"memory", &make_memory_adapter,
                 [](adapter_spec spec) { (void)parse_memory_options(std::move(spec)); }},
    adapter_type{"file", &make_file_adapter, [](adapter_spec spec) { (void)parse_file_options(std::move(spec)); }},
    adapter_type{"segment", &make_segment_adapter,
                 [](adapter_spec spec) { (void)parse_segment_options(std::move(spec)); }},
    adapter_type{"fault", &make_faulty, &check_faulty},
};

const adapter_type& type_of(const adapter_spec& spec)
{
    const auto* type = std::ranges::find(adapters, spec.type(), &adapter_type::name);
    if (type == adapters.end())
        throw std::invalid_argument(fmt::format("adapter {:?}: unknown type {:?}; expected one of {}", spec.text(),
                                                spec.type(), adapter_types()));
    return *type;
}

} // namespace

std::unique_ptr<l2_adapter> make_adapter(std::string_view spec)
{
    auto parsed = adapter_spec::parse(spec);
    const auto make = type_of(parsed).make;
    return make(std::move(parsed));
}

void check_adapter(std::string_view spec)
{
    auto parsed = adapter_spec::parse(spec);
    const auto check = type_of(parsed).check;
    check(std::move(parsed));
}

std::string adapter_types()
{
    std::string names;
    for (const auto& type : adapters)
        names += fmt::format("{}{}", names.empty() ? "" : ", ", type.name);
    return names;
}

} // namespace terrace
