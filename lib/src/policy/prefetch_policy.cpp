#include <terrace/prefetch_policy.hpp>

#include <fmt/format.h>
#include <stdexcept>

namespace terrace {
namespace {

/// The adapter of the lowest index that has the key.
class lowest_index final : public prefetch_policy {
public:
    lowest_index(std::string_view name, bool retain) : name_{name}, retain_{retain} {}

    [[nodiscard]] std::string_view name() const noexcept override { return name_; }

    [[nodiscard]] load_plan select_load_plan(std::span<const object_key> keys,
                                             std::span<const bitmap> found) const override
    {
        load_plan plan{keys.size()};
        for (std::size_t adapter = found.size(); adapter-- > 0;) // so that the lowest has the last word
            found[adapter].for_each_set(
                [&](std::size_t i) { plan.set_source(i, static_cast<std::uint32_t>(adapter)); });
        return plan;
    }

    [[nodiscard]] bitmap select_l1_retentions(std::span<const object_key> keys) const override
    {
        return bitmap{keys.size(), retain_};
    }

private:
    std::string_view name_;
    bool retain_;
};

} // namespace

std::shared_ptr<const prefetch_policy> prefetch_policy::make(std::string_view name)
{
    if (name == "default")
        return std::make_shared<lowest_index>("default", false);
    if (name == "retain")
        return std::make_shared<lowest_index>("retain", true);
    throw std::invalid_argument(fmt::format("prefetch policy {:?} is unknown; expected default or retain", name));
}

} // namespace terrace
