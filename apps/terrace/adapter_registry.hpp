#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <terrace/l2_adapter.hpp>

namespace terrace::apps {

/// The adapter that a text such as "memory:" or "file:/var/cache/terrace?capacity=20GiB" describes.
///
/// Throws std::invalid_argument that names the text, what is wrong with it and what was expected; whatever the
/// adapter's constructor throws, as std::system_error for a directory that cannot be used.
[[nodiscard]] std::unique_ptr<l2_adapter> make_adapter(std::string_view spec);

/// The types that make_adapter() knows, as "memory, file, segment, fault".
[[nodiscard]] std::string adapter_types();

} // namespace terrace::apps
