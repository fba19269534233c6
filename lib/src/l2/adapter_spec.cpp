#include <terrace/adapter_spec.hpp>

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>

namespace terrace {
namespace {

bool is_type(std::string_view text) noexcept
{
    auto in_type = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'; };
    return !text.empty() && std::ranges::all_of(text, in_type);
}

/// What follows the first '?', with it.
std::string_view query_of(std::string_view text) noexcept
{
    return text.substr(std::min(text.find('?'), text.size()));
}

} // namespace

adapter_spec::adapter_spec(std::string_view text, std::string_view type, std::string_view rest)
    : text_options{fmt::format("adapter {:?}", text), query_of(rest)},
      text_{text},
      type_{type},
      place_{rest.substr(0, rest.find('?'))}
{
}

adapter_spec adapter_spec::parse(std::string_view text)
{
    const auto colon = text.find(':');
    if (colon == std::string_view::npos || !is_type(text.substr(0, colon)))
        throw std::invalid_argument(
            fmt::format("adapter {:?}: no type; expected type:place?option=value, such as memory: or file:/dir", text));
    return {text, text.substr(0, colon), text.substr(colon + 1)};
}

void adapter_spec::reject_place(std::string_view what) const
{
    throw std::invalid_argument(fmt::format("{}: place {:?}: {}", subject(), place_, what));
}

} // namespace terrace
