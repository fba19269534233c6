#pragma once

#include <cstdlib>
#include <memory>
#include <new>
#include <span>

#include "segment_format.hpp"

namespace terrace::segment {

/// Memory that direct I/O takes: it starts on a block and is whole blocks.
class aligned_buffer {
public:
    aligned_buffer() noexcept = default;
    explicit aligned_buffer(std::uint64_t bytes)
        : data_{static_cast<std::byte*>(std::aligned_alloc(block_bytes, padded(bytes)))},
          bytes_{padded(bytes)}
    {
        if (data_ == nullptr)
            throw std::bad_alloc{};
    }

    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data_.get(), bytes_}; }

private:
    struct freed {
        void operator()(std::byte* data) const noexcept { std::free(data); }
    };
    std::unique_ptr<std::byte, freed> data_;
    std::uint64_t bytes_ = 0;
};

} // namespace terrace::segment
