#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include <terrace/api.hpp>
#include <terrace/configuration.hpp>

namespace terrace {

/// One thing that can be set. Parsing, checking, printing and the reference page all come from here.
///
/// Errors: set() throws std::invalid_argument, such as `"12q" is not a size; expected ...`, and nothing has changed.
template <class Target>
struct basic_setting {
    std::string key;     ///< "l1.capacity"
    std::string member;  ///< the C++ member behind it: "l1.capacity_bytes"
    std::string type;    ///< how it is written: size, duration, count, share, name, policy or text
    std::string unit;    ///< of a count or a share: "threads", "of L1"; otherwise empty
    std::string range;   ///< "4 KiB to 128 TiB", "off, transparent or reserved"
    std::string meaning; ///< sentences

    std::function<std::string(const Target&)> get; ///< as set() takes it
    std::function<void(Target&, std::string_view)> set;
};

/// Of the engine, and of the program around it.
using setting = basic_setting<configuration>;
/// Of one adapter: a key of a table in `adapters`.
using adapter_setting = basic_setting<configured_adapter>;

/// All of them, in the order of the reference page. Quotas are not among them: their keys are eviction.quotas.SALT.
[[nodiscard]] TERRACE_API std::span<const setting> settings();
[[nodiscard]] TERRACE_API std::span<const adapter_setting> adapter_settings();

/// The environment variable of a key: TERRACE_L1_CAPACITY.
[[nodiscard]] TERRACE_API std::string environment_variable(std::string_view key);

} // namespace terrace
