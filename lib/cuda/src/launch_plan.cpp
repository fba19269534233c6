#include "launch_plan.hpp"

#include <algorithm>
#include <limits>

namespace terrace::cuda::detail {
namespace {

constexpr std::uint64_t staging_alignment = 256; // of each object's part of the buffer

/// Some tokens and layers of one object.
struct piece {
    const transfer_job::item* item = nullptr;
    std::uint32_t first_token = 0; // of the object
    std::uint32_t tokens = 0;
    layer_range layers;
};

/// A half-open range of the object's bytes.
struct window {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
};

class planner {
public:
    planner(const transfer_job& job, std::uint64_t buffer_bytes) : job_{job}, buffer_bytes_{buffer_bytes}
    {
        describe();
    }

    std::vector<planned_launch> plan() &&
    {
        for (const transfer_job::item& item : job_.items)
            if (!add({&item, item.chunk->first_token(), item.chunk->tokens_of(job_.objects.tokens()), job_.layers}))
                return {};
        return std::move(launches_);
    }

private:
    [[nodiscard]] bool staged() const { return buffer_bytes_ != std::numeric_limits<std::uint64_t>::max(); }
    [[nodiscard]] const page_shape& shape() const { return job_.pages.shape(); }
    [[nodiscard]] std::uint64_t plane_bytes() const { return job_.objects.group_tokens() * shape().token_bytes(); }
    [[nodiscard]] std::uint64_t group_bytes() const { return shape().planes() * plane_bytes(); }

    /// What all launches have in common.
    void describe()
    {
        const page_strides& strides = job_.pages.strides();
        const std::uint64_t element = element_bytes(shape().type);
        kernel_launch& l = common_;
        const bool head_major = job_.objects.order() == object_order::head_major;
        const bool dense_heads = strides.element == element || shape().head_dim == 1;
        const bool dense_tokens =
            dense_heads && !head_major && (shape().heads == 1 || strides.head == shape().head_bytes());
        const std::uint64_t dense_bytes = dense_tokens  ? shape().token_bytes()
                                          : dense_heads ? shape().head_bytes()
                                                        : element;
        l.unit_bytes = unit_bytes(dense_bytes);
        l.heads = dense_tokens ? 1 : shape().heads;
        l.units = static_cast<std::uint32_t>(dense_heads ? dense_bytes / l.unit_bytes
                                                         : shape().head_dim * (element / l.unit_bytes));
        l.unit_stride = dense_heads ? l.unit_bytes : strides.element;
        l.page_tokens = shape().page_tokens;
        l.group_tokens = job_.objects.group_tokens();
        l.head_major = head_major ? 1 : 0;
        l.page_stride = strides.page;
        l.token_stride = strides.token;
        l.head_stride = strides.head;
        l.object_group_stride = group_bytes();
        l.object_plane_stride = plane_bytes();
        l.object_token_stride = head_major ? shape().head_bytes() : shape().token_bytes();
        l.object_head_stride = head_major ? job_.objects.group_tokens() * shape().head_bytes() : shape().head_bytes();
    }

    /// The largest power of two, up to 16, that divides a dense piece, every stride and every address.
    [[nodiscard]] std::uint32_t unit_bytes(std::uint64_t dense_bytes) const
    {
        const page_strides& strides = job_.pages.strides();
        // head_bytes and token_bytes are the object's strides; the element's stride only counts where there are gaps,
        // and then it is a multiple of dense_bytes.
        std::uint64_t all = dense_bytes | strides.page | strides.token | strides.head | shape().head_bytes();
        if (dense_bytes == element_bytes(shape().type))
            all |= strides.element;
        for (std::uint32_t p = job_.layers.first * shape().kv; p < job_.layers.last * shape().kv; ++p)
            all |= job_.pages.plane(p);
        for (const transfer_job::item& item : job_.items)
            all |= reinterpret_cast<std::uintptr_t>(item.object);
        std::uint32_t unit = 16;
        while (all % unit != 0)
            unit /= 2;
        return unit;
    }

    /// Cuts the piece until it fits, and packs the parts. False: it cannot fit.
    [[nodiscard]] bool add(const piece& p)
    {
        const std::uint32_t layers = p.layers.last - p.layers.first;
        const std::uint64_t planes = std::uint64_t{layers} * shape().kv;
        const std::uint64_t units = planes * p.tokens * common_.heads * common_.units;
        const std::uint64_t pages =
            (slot_of(p) + std::uint64_t{p.tokens} + shape().page_tokens - 1) / shape().page_tokens;
        const window w = window_of(p);
        const bool too_long = staged() && w.last - w.first > buffer_bytes_;
        const bool fits = !too_long && planes <= kernel_launch::max_planes && units < kernel_launch::max_units &&
                          pages <= kernel_launch::max_pages;
        if (fits) {
            pack(p, static_cast<std::uint32_t>(pages), w);
            return true;
        }
        const std::uint32_t group = p.first_token / job_.objects.group_tokens();
        const std::uint32_t groups = (p.first_token + p.tokens - 1) / job_.objects.group_tokens() + 1 - group;
        const bool too_many_pages = pages > kernel_launch::max_pages;
        if (groups > 1 && (too_long || too_many_pages))
            return cut_tokens(p, (group + groups / 2) * job_.objects.group_tokens() - p.first_token);
        if (too_many_pages)
            return cut_tokens(p, p.tokens / 2);
        if (layers > 1)
            return cut_layers(p);
        return !too_long && p.tokens > 1 && cut_tokens(p, p.tokens / 2);
    }

    [[nodiscard]] bool cut_tokens(const piece& p, std::uint32_t at)
    {
        return add({p.item, p.first_token, at, p.layers}) && add({p.item, p.first_token + at, p.tokens - at, p.layers});
    }

    [[nodiscard]] bool cut_layers(const piece& p)
    {
        const std::uint32_t middle = p.layers.first + (p.layers.last - p.layers.first) / 2;
        return add({p.item, p.first_token, p.tokens, {p.layers.first, middle}}) &&
               add({p.item, p.first_token, p.tokens, {middle, p.layers.last}});
    }

    /// The piece's first token among those of the chunk's pages.
    [[nodiscard]] std::uint64_t position_of(const piece& p) const
    {
        return std::uint64_t{p.item->chunk->first_slot()} + (p.first_token - p.item->chunk->first_token());
    }
    [[nodiscard]] std::uint32_t slot_of(const piece& p) const
    {
        return static_cast<std::uint32_t>(position_of(p) % shape().page_tokens);
    }

    /// What lies between its first and its last byte; more than it touches if it has not all tokens of a group, or not
    /// all layers of several groups.
    [[nodiscard]] window window_of(const piece& p) const
    {
        const std::uint64_t group_tokens = job_.objects.group_tokens();
        const std::uint64_t first_group = p.first_token / group_tokens;
        const std::uint64_t last_group = (p.first_token + std::uint64_t{p.tokens} - 1) / group_tokens;
        return {first_group * group_bytes() + p.layers.first * shape().kv * plane_bytes(),
                last_group * group_bytes() + p.layers.last * shape().kv * plane_bytes()};
    }

    void pack(const piece& p, std::uint32_t pages, const window& w)
    {
        const std::uint64_t length = w.last - w.first;
        if (launches_.empty() || !has_room(pages, length) || layers_ != p.layers)
            open(p.layers);
        planned_launch& planned = launches_.back();
        kernel_launch& l = planned.launch;
        const auto object = reinterpret_cast<std::uintptr_t>(p.item->object);
        kernel_slice& slice = l.slice[l.slices++];
        slice = {object, p.first_token, p.tokens, slot_of(p), pages_};
        const auto from =
            p.item->chunk->pages().begin() + static_cast<std::ptrdiff_t>(position_of(p) / shape().page_tokens);
        std::copy_n(from, pages, l.page_ids + pages_);
        pages_ += pages;
        if (staged()) {
            slice.object = planned.staging_bytes - w.first; // modulo 2^64; the offsets in the object are >= w.first
            add_copies(p, planned, w);
            planned.staging_bytes += (length + staging_alignment - 1) / staging_alignment * staging_alignment;
        }
    }

    [[nodiscard]] bool has_room(std::uint32_t pages, std::uint64_t length) const
    {
        const planned_launch& planned = launches_.back();
        return planned.launch.slices < kernel_launch::max_slices && pages_ + pages <= kernel_launch::max_pages &&
               (!staged() || planned.staging_bytes + length <= buffer_bytes_);
    }

    void open(layer_range layers)
    {
        planned_launch& planned = launches_.emplace_back();
        planned.launch = common_;
        planned.launch.first_plane = layers.first * shape().kv;
        planned.launch.planes = (layers.last - layers.first) * shape().kv;
        for (std::uint32_t p = 0; p < planned.launch.planes; ++p)
            planned.launch.plane[p] = job_.pages.plane(planned.launch.first_plane + p);
        layers_ = layers;
        pages_ = 0;
    }

    /// The object's own runs: what lies together in L1, wherever the pages are.
    void add_copies(const piece& p, planned_launch& planned, const window& w) const
    {
        const std::uint32_t group_tokens = job_.objects.group_tokens();
        const std::uint32_t end = p.first_token + p.tokens;
        for (std::uint32_t token = p.first_token; token < end;) {
            const std::uint32_t group_end = std::min(end, (token / group_tokens + 1) * group_tokens);
            const std::uint64_t in_group = token % group_tokens;
            const std::uint64_t n = group_end - token;
            for (std::uint32_t plane = p.layers.first * shape().kv; plane < p.layers.last * shape().kv; ++plane) {
                const std::uint64_t origin = token / group_tokens * group_bytes() + plane * plane_bytes();
                if (job_.objects.order() == object_order::token_major)
                    add_copy(p, planned, w, origin + in_group * shape().token_bytes(), n * shape().token_bytes());
                else
                    for (std::uint64_t head = 0; head < shape().heads; ++head)
                        add_copy(p, planned, w, origin + (head * group_tokens + in_group) * shape().head_bytes(),
                                 n * shape().head_bytes());
            }
            token = group_end;
        }
    }

    static void add_copy(const piece& p, planned_launch& planned, const window& w, std::uint64_t offset,
                         std::uint64_t bytes)
    {
        std::byte* const object = p.item->object + offset;
        const std::uint64_t staged = planned.staging_bytes + offset - w.first;
        if (!planned.copies.empty()) {
            staged_copy& last = planned.copies.back();
            if (last.object + last.bytes == object && last.staged + last.bytes == staged) {
                last.bytes += bytes;
                return;
            }
        }
        planned.copies.push_back({object, staged, bytes});
    }

    const transfer_job& job_;
    const std::uint64_t buffer_bytes_;
    kernel_launch common_{};
    std::vector<planned_launch> launches_;
    layer_range layers_;      // of the last launch
    std::uint32_t pages_ = 0; // in the last launch
};

} // namespace

std::vector<planned_launch> plan_mapped(const transfer_job& job)
{
    return planner{job, std::numeric_limits<std::uint64_t>::max()}.plan();
}

std::vector<planned_launch> plan_staged(const transfer_job& job, std::uint64_t buffer_bytes)
{
    return planner{job, buffer_bytes}.plan();
}

} // namespace terrace::cuda::detail
