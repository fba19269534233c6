// Policies by name, with their options.

#include "fuzz/fuzz.hpp"

#include <fmt/format.h>
#include <optional>
#include <terrace/eviction_policy.hpp>
#include <terrace/prefetch_policy.hpp>
#include <terrace/store_policy.hpp>

namespace terrace::fuzz {
namespace {

/// What `make` gives, or nothing where the documented error names the value.
template <class Make>
auto made(std::string_view value, Make make) -> std::optional<decltype(make())>
{
    try {
        return make();
    } catch (const std::invalid_argument& e) {
        const std::string_view what = e.what();
        const std::string_view name = value.substr(0, value.find('?'));
        expect(what.find(fmt::format("{:?}", value)) != what.npos ||
                   what.find(fmt::format("{:?}", name)) != what.npos ||
                   what.starts_with(fmt::format("store policy {}: ", name)),
               std::string{"an error names the policy: "} + e.what());
        return std::nullopt;
    }
}

verdict check_policy(bytes_view input)
{
    const std::string_view text = as_text(input);
    const std::string_view name = text.substr(0, text.find('?'));
    const auto eviction = made(text, [&] { return eviction_policy::make(text, nullptr); });
    const auto prefetch = made(text, [&] { return prefetch_policy::make(text); });
    const auto store = made(text, [&] { return store_policy::make(text); });
    expect(!prefetch || (*prefetch)->name() == text, "a policy has the name that it was made by");
    expect(!store || (*store)->name() == name, "a policy has the name that it was made by");
    return eviction || prefetch || store ? verdict::accepted : verdict::refused;
}

std::vector<bytes> policy_seeds()
{
    return as_seeds({"lru",
                     "s3fifo",
                     "isolated_lru",
                     "none",
                     "default",
                     "retain",
                     "skip_l1",
                     "tiered",
                     "second_touch",
                     "second_touch?history=262144",
                     "second_touch?history=0",
                     "second_touch?history=",
                     "write_budget?rate=100MiB&burst=1GiB",
                     "write_budget?rate=0",
                     "write_budget?burst=1&burst=2",
                     "write_budget?speed=1",
                     "default?",
                     "default?x=1",
                     "?",
                     "",
                     "LRU"});
}

const registration policy_target{{"policy", check_policy, policy_seeds}};

} // namespace
} // namespace terrace::fuzz
