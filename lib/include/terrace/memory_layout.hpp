#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <terrace/api.hpp>

namespace terrace {

/// The element types of KV tensors.
enum class dtype : std::uint8_t { u8, i8, f8_e4m3, f8_e5m2, f16, bf16, i32, f32, i64, f64 };

/// Bytes of one element.
[[nodiscard]] TERRACE_API std::uint32_t element_bytes(dtype type) noexcept;

/// One tensor of an object: row-major, no padding.
class tensor {
public:
    /// shape  extent of each dimension, outermost first; each >= 1
    tensor(std::vector<std::uint64_t> shape, dtype type) : shape_{std::move(shape)}, type_{type} {}

    [[nodiscard]] std::span<const std::uint64_t> shape() const noexcept { return shape_; }
    [[nodiscard]] dtype type() const noexcept { return type_; }

    friend bool operator==(const tensor&, const tensor&) = default;

private:
    std::vector<std::uint64_t> shape_;
    dtype type_;
};

/// The shapes and types of one object's tensors, back to back.
///
/// A value that is cheap to copy: copies share one immutable description.
class TERRACE_API memory_layout {
public:
    /// No tensors, zero bytes: every operation that takes a layout refuses it.
    memory_layout();

    /// Throws std::invalid_argument if an extent is 0 or the size passes 2^62 bytes.
    explicit memory_layout(std::vector<tensor> tensors);

    /// One tensor of n bytes, for callers that know the size and nothing else. n = 0 gives the empty layout.
    [[nodiscard]] static memory_layout bytes(std::uint64_t n);

    /// A layout of which only size and fingerprint are known, as a store keeps them: equal to the one they came from,
    /// but without its tensors.
    [[nodiscard]] static memory_layout known_by(std::uint64_t size_bytes, std::uint64_t fingerprint) noexcept;

    [[nodiscard]] std::span<const tensor> tensors() const noexcept;
    [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }

    /// 64 bits over shapes and types, the same on every machine: what is stored under one fingerprint is never read
    /// under another.
    [[nodiscard]] std::uint64_t fingerprint() const noexcept { return fingerprint_; }

    friend bool operator==(const memory_layout& a, const memory_layout& b) noexcept
    {
        return a.size_bytes_ == b.size_bytes_ && a.fingerprint_ == b.fingerprint_;
    }

private:
    std::shared_ptr<const std::vector<tensor>> tensors_; // null: none
    std::uint64_t size_bytes_ = 0;
    std::uint64_t fingerprint_ = 0;
};

} // namespace terrace
