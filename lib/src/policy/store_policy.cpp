#include <terrace/store_policy.hpp>

#include <fmt/format.h>
#include <stdexcept>

namespace terrace {
namespace {

class store_everywhere final : public store_policy {
public:
    store_everywhere(std::string_view name, bool keep_in_l1) : name_{name}, keep_in_l1_{keep_in_l1} {}

    [[nodiscard]] std::string_view name() const noexcept override { return name_; }

    [[nodiscard]] std::vector<bitmap> select_targets(std::span<const object_key> keys,
                                                     std::size_t adapters) const override
    {
        return std::vector<bitmap>(adapters, bitmap{keys.size(), true});
    }

    [[nodiscard]] bitmap select_l1_deletions(std::span<const object_key> keys, const bitmap& stored) const override
    {
        return keep_in_l1_ ? bitmap{keys.size()} : stored;
    }

private:
    std::string_view name_;
    bool keep_in_l1_;
};

} // namespace

std::shared_ptr<const store_policy> store_policy::make(std::string_view name)
{
    if (name == "default")
        return std::make_shared<store_everywhere>("default", true);
    if (name == "skip_l1")
        return std::make_shared<store_everywhere>("skip_l1", false);
    throw std::invalid_argument(fmt::format("store policy '{}' is unknown; expected default or skip_l1", name));
}

} // namespace terrace
