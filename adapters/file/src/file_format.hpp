#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <terrace/memory_layout.hpp>
#include <terrace/object_key.hpp>

// What a file of this adapter looks like, and what it is called: docs/formats/file.md.

namespace terrace::file {

/// Before the payload, which thereby starts on a page.
inline constexpr std::size_t header_bytes = 4096;

/// A header as it lies in the file.
using header_page = std::array<std::byte, header_bytes>;

/// The header of this object. Every byte follows from the object, so two objects agree if their headers do.
[[nodiscard]] header_page make_header(const object_key& key, const memory_layout& layout,
                                      std::span<const std::byte> payload);

/// The key of the object that the header is of; nothing if it is damaged, of another version or not a header.
[[nodiscard]] std::optional<object_key> key_of(const header_page& header);

/// The layout of that object, by fingerprint and size; nothing where key_of() gives nothing.
[[nodiscard]] std::optional<memory_layout> layout_of(const header_page& header);

/// XXH3 of that object's payload, as its header says.
[[nodiscard]] std::uint64_t payload_checksum_of(const header_page& header);

/// Where the object lies below the adapter's directory: "7f/model@0@0@2a.kv", or "7f/~<32 digits>.kv" if that is longer
/// than a file name may be. The folder is the first byte of a hash of the key.
[[nodiscard]] std::string path_of(const object_key& key);

/// Whether only the header can tell the key of the file at `path`.
[[nodiscard]] bool is_hashed_path(std::string_view path);

/// The key that has this path_of(); nothing if there is none, or if is_hashed_path().
[[nodiscard]] std::optional<object_key> key_at(std::string_view path);

/// The names of the folders, "00" to "ff".
[[nodiscard]] std::string folder_name(std::uint8_t number);

} // namespace terrace::file
