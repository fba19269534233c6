#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace terrace::test {

/// What an eviction policy is asked, in numbers and names: the tests' own account of how each policy decides, in
/// containers of the standard library and with no thought of speed. It shares no line with the library.
class plain_policy {
public:
    using id = std::uint64_t;
    using quotas = std::map<std::string, std::uint64_t>;

    virtual ~plain_policy() = default;
    virtual void admit(id object, std::uint64_t bytes, const std::string& salt) = 0;
    virtual void acquire(id object) = 0;
    virtual void release(id object) = 0;
    virtual void touch(id object) = 0;
    virtual void evict(id object) = 0; ///< the victim
    [[nodiscard]] virtual std::optional<id> victim() = 0;
    [[nodiscard]] virtual std::optional<id> overdue() { return {}; }
    virtual void set_quotas(const quotas&) {}

    /// By the names of eviction_policy::make(), but for "none".
    [[nodiscard]] static std::unique_ptr<plain_policy> make(std::string_view name);
};

} // namespace terrace::test
