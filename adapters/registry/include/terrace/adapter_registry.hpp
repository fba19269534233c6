#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <terrace/api.hpp>
#include <terrace/l2_adapter.hpp>

namespace terrace {

/// The adapter that a text such as "memory:" or "file:/var/cache/terrace?capacity=20GiB" describes.
///
/// Throws std::invalid_argument that names the text, what is wrong with it and what was expected; whatever the
/// adapter's constructor throws, as std::system_error for a directory that cannot be used.
[[nodiscard]] TERRACE_API std::unique_ptr<l2_adapter> make_adapter(std::string_view spec);

/// Throws what make_adapter() does for a text that it does not understand, or whose options cannot be, and opens
/// nothing: whether the place can be used is not known before.
TERRACE_API void check_adapter(std::string_view spec);

/// The types that make_adapter() knows, as "memory, file, segment, fault".
[[nodiscard]] TERRACE_API std::string adapter_types();

} // namespace terrace
