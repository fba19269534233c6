#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// Parsers of bytes that came from outside, and what must hold whatever those bytes are: docs/testing.md.

namespace terrace::fuzz {

using bytes = std::vector<std::byte>;
using bytes_view = std::span<const std::byte>;

/// Whether a parser took its input for what it parses.
enum class verdict : std::uint8_t { accepted, refused };

/// What does not hold.
class broken : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

/// Throws broken(what) unless it holds.
void expect(bool holds, const std::string& what);

/// One parser.
struct target {
    std::string_view name; ///< also of its folder below corpus/
    /// Parses the input and checks what it gives. Any exception that leaves it is a finding.
    verdict (*check)(bytes_view input);
    /// What to begin with: inputs that are accepted, and some that nearly are.
    std::vector<bytes> (*seeds)();
};

/// Adds one: a global of this type in a file below targets/.
struct registration {
    explicit registration(const target& t);
};

/// All that the program was linked with, by name.
[[nodiscard]] std::vector<target> targets();

// ---- what targets have in common ----

[[nodiscard]] std::string_view as_text(bytes_view input) noexcept;
[[nodiscard]] bytes as_bytes(std::string_view text);
[[nodiscard]] std::vector<bytes> as_seeds(std::initializer_list<std::string_view> texts);

/// Copies as much of the input as there is room for; zeros follow.
void fill(std::span<std::byte> to, bytes_view input) noexcept;

/// Writes the checksum of all before the last eight bytes into those.
void seal(std::span<std::byte> page) noexcept;

/// Without the zeros at its end, which fill() brings back.
[[nodiscard]] bytes trimmed(bytes_view page);

} // namespace terrace::fuzz
