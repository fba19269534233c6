#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include <terrace/object_key.hpp>

namespace terrace::replay {

/// Bytes that only this key and this size have: what is read back proves whose it is, and that all of it is there.
///
/// Each 64-bit word is a hash of its index and of the key (splitmix64), so that words may be made in any order. The
/// same in every process; words are in the machine's byte order.
void fill_pattern(const object_key& key, std::span<std::byte> bytes) noexcept;

/// The offset of a word that is not as fill_pattern() left it; none if all are.
[[nodiscard]] std::optional<std::size_t> find_mismatch(const object_key& key,
                                                       std::span<const std::byte> bytes) noexcept;

} // namespace terrace::replay
