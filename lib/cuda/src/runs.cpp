#include <terrace/cuda/object_layout.hpp>

#include <algorithm>

namespace terrace::cuda {
namespace {

/// Appends what runs() answers, in order of the object.
class run_list {
public:
    run_list(const page_layout& pages, const object_layout& objects, const paged_chunk& chunk)
        : pages_{pages},
          shape_{pages.shape()},
          strides_{pages.strides()},
          objects_{objects},
          chunk_{chunk}
    {
    }

    std::vector<copy_run> list(layer_range layers) &&
    {
        const std::uint32_t end = chunk_.first_token() + chunk_.tokens_of(objects_.tokens());
        const std::uint32_t group_tokens = objects_.group_tokens();
        for (std::uint32_t token = chunk_.first_token(); token < end;) {
            const std::uint32_t group_end = std::min(end, (token / group_tokens + 1) * group_tokens);
            for (std::uint32_t plane = layers.first * shape_.kv; plane < layers.last * shape_.kv; ++plane)
                add_plane(plane, token, group_end);
            token = group_end;
        }
        return std::move(runs_);
    }

private:
    /// Tokens [first, last) of one plane, all in one group.
    void add_plane(std::uint32_t plane, std::uint32_t first, std::uint32_t last)
    {
        const std::uint64_t group = first / objects_.group_tokens();
        const std::uint64_t group_tokens = objects_.group_tokens();
        const std::uint64_t origin = (group * shape_.planes() + plane) * group_tokens * shape_.token_bytes();
        const std::uint64_t in_group = first - group * group_tokens;
        if (objects_.order() == object_order::token_major) {
            offset_ = origin + in_group * shape_.token_bytes();
            for_each_page(plane, first, last, [&](device_address slot, std::uint32_t n) { add_tokens(slot, n); });
            return;
        }
        for (std::uint32_t head = 0; head < shape_.heads; ++head) {
            offset_ = origin + (head * group_tokens + in_group) * shape_.head_bytes();
            for_each_page(plane, first, last, [&](device_address slot, std::uint32_t n) {
                for (std::uint32_t i = 0; i < n; ++i)
                    add_head(slot + i * strides_.token + head * strides_.head);
            });
        }
    }

    /// Calls f with the address of the first token, and how many follow in its page.
    template <class F>
    void for_each_page(std::uint32_t plane, std::uint32_t first, std::uint32_t last, F f)
    {
        while (first < last) {
            const std::uint64_t position = first - chunk_.first_token() + std::uint64_t{chunk_.first_slot()};
            const auto slot = static_cast<std::uint32_t>(position % shape_.page_tokens);
            const std::uint32_t page = chunk_.pages()[position / shape_.page_tokens];
            const std::uint32_t n = std::min(shape_.page_tokens - slot, last - first);
            f(pages_.plane(plane) + page * strides_.page + slot * strides_.token, n);
            first += n;
        }
    }

    void add_tokens(device_address at, std::uint32_t n)
    {
        const bool whole_tokens = strides_.element == element_bytes(shape_.type) &&
                                  (shape_.heads == 1 || strides_.head == shape_.head_bytes());
        if (whole_tokens && (n == 1 || strides_.token == shape_.token_bytes())) {
            append(at, n * shape_.token_bytes());
            return;
        }
        for (std::uint32_t i = 0; i < n; ++i)
            for (std::uint32_t head = 0; head < shape_.heads; ++head)
                add_head(at + i * strides_.token + head * strides_.head);
    }

    void add_head(device_address at)
    {
        if (strides_.element == element_bytes(shape_.type) || shape_.head_dim == 1) {
            append(at, shape_.head_bytes());
            return;
        }
        for (std::uint32_t i = 0; i < shape_.head_dim; ++i)
            append(at + i * strides_.element, element_bytes(shape_.type));
    }

    void append(device_address device, std::uint64_t bytes)
    {
        if (!runs_.empty() && runs_.back().device + runs_.back().bytes == device &&
            runs_.back().offset + runs_.back().bytes == offset_)
            runs_.back().bytes += bytes;
        else
            runs_.push_back({device, offset_, bytes});
        offset_ += bytes;
    }

    const page_layout& pages_;
    const page_shape& shape_;
    const page_strides& strides_;
    const object_layout& objects_;
    const paged_chunk& chunk_;
    std::uint64_t offset_ = 0; // in the object, of what is appended next
    std::vector<copy_run> runs_;
};

} // namespace

std::vector<copy_run> runs(const page_layout& pages, const object_layout& objects, const paged_chunk& chunk,
                           layer_range layers)
{
    return run_list{pages, objects, chunk}.list(layers);
}

std::uint64_t typical_run_bytes(const page_layout& pages, const object_layout& objects)
{
    const page_shape& shape = pages.shape();
    if (pages.strides().element != element_bytes(shape.type) && shape.head_dim > 1)
        return element_bytes(shape.type);
    // The first run of one page. What does not end within two layers does not end before the last.
    paged_chunk page{{0}};
    page.set_tokens(0, std::min(shape.page_tokens, objects.group_tokens()));
    const auto some = runs(pages, objects, page, {0, std::min(shape.layers, 2U)});
    return some.size() > 1 ? some.front().bytes : runs(pages, objects, page, {0, shape.layers}).front().bytes;
}

} // namespace terrace::cuda
