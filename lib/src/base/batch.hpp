#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <terrace/memory_layout.hpp>
#include <terrace/object_key.hpp>

namespace terrace::detail {

/// The door of every operation on a batch: throws std::invalid_argument, which names `operation`, the position and the
/// key, for an empty key or a key that stands twice.
void check_keys(std::string_view operation, std::span<const object_key> keys);

/// Throws std::invalid_argument for the layout of zero bytes.
void check_layout(std::string_view operation, const memory_layout& layout);

/// Throws std::invalid_argument unless 1 <= readers <= prefetch_request::max_readers.
void check_readers(std::string_view operation, std::uint32_t readers);

} // namespace terrace::detail
