#pragma once

#include <optional>
#include <span>
#include <vector>

#include <terrace/io/disk_io.hpp>
#include <terrace/l2_adapter.hpp>

#include "aligned_buffer.hpp"
#include "health_record.hpp"
#include "segment_log.hpp"

namespace terrace::segment {

/// Reads a batch of objects: what comes before and after each transfer. Its holds on segments end with it.
class load_batch final : public io::staged_work {
public:
    load_batch(segment_log& log, health_record& health, std::span<const load_item> items)
        : log_{log},
          health_{health},
          items_{items},
          parts_(items.size())
    {
    }

    std::optional<io::transfer> begin(std::size_t i) override;
    void end(std::size_t i, const io::transfer& done) override;

    [[nodiscard]] bool loaded(std::size_t i) const { return parts_[i].loaded; }

private:
    struct part {
        std::optional<read_hold> hold;
        aligned_buffer memory; // the header; the payload as well, where direct I/O does not take the item's
        bool direct = false;
        bool loaded = false;
    };

    [[nodiscard]] std::span<const std::byte> payload(std::size_t i) const;
    [[nodiscard]] bool is_right(std::size_t i) const;

    segment_log& log_;
    health_record& health_;
    std::span<const load_item> items_;
    std::vector<part> parts_;
};

} // namespace terrace::segment
