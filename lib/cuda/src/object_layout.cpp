#include <terrace/cuda/object_layout.hpp>

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>

namespace terrace::cuda {

object_layout::object_layout(std::uint32_t tokens, object_order order, std::uint32_t group_tokens)
    : tokens_{tokens},
      order_{order},
      group_tokens_{group_tokens == 0 ? tokens : group_tokens}
{
    if (tokens == 0)
        throw std::invalid_argument("object layout: 0 tokens; at least 1");
    if (tokens % group_tokens_ != 0)
        throw std::invalid_argument(
            fmt::format("object layout: groups of {} tokens do not divide the object's {}", group_tokens_, tokens));
}

std::uint64_t object_layout::size_bytes(const page_shape& shape) const noexcept
{
    return std::uint64_t{shape.planes()} * tokens_ * shape.token_bytes();
}

memory_layout object_layout::memory(const page_shape& shape) const
{
    if (order_ == object_order::token_major)
        return memory_layout{
            {tensor{{groups(), shape.layers, shape.kv, group_tokens_, shape.heads, shape.head_dim}, shape.type}}};
    // One dimension more, or an object with as many tokens as heads would have the same layout in both orders.
    return memory_layout{
        {tensor{{groups(), shape.layers, shape.kv, shape.heads, 1, group_tokens_, shape.head_dim}, shape.type}}};
}

paged_chunk paged_chunk::of_sequence(std::span<const std::uint32_t> page_table, std::uint32_t page_tokens,
                                     std::uint64_t first_token, std::uint32_t tokens)
{
    if (page_tokens == 0 || tokens == 0)
        throw std::invalid_argument(
            fmt::format("paged chunk: {} tokens in pages of {}; at least 1", tokens, page_tokens));
    if (first_token + tokens > page_table.size() * std::uint64_t{page_tokens})
        throw std::invalid_argument(fmt::format("paged chunk: tokens {} to {} of a sequence of {} pages of {}",
                                                first_token, first_token + tokens, page_table.size(), page_tokens));
    const auto from = page_table.begin() + static_cast<std::ptrdiff_t>(first_token / page_tokens);
    const auto to = page_table.begin() + static_cast<std::ptrdiff_t>((first_token + tokens - 1) / page_tokens + 1);
    return paged_chunk{{from, to}, static_cast<std::uint32_t>(first_token % page_tokens)};
}

void paged_chunk::check(const page_layout& pages, const object_layout& objects) const
{
    const page_shape& shape = pages.shape();
    const std::uint64_t tokens = tokens_of(objects.tokens());
    if (tokens == 0 || first_token_ + tokens > objects.tokens())
        throw std::invalid_argument(fmt::format("paged chunk: {} tokens from {} on of an object of {}", tokens,
                                                first_token_, objects.tokens()));
    if (first_slot_ >= shape.page_tokens)
        throw std::invalid_argument(
            fmt::format("paged chunk: slot {} of a page of {} tokens", first_slot_, shape.page_tokens));
    const std::uint64_t needed = (first_slot_ + tokens + shape.page_tokens - 1) / shape.page_tokens;
    if (pages_.size() != needed)
        throw std::invalid_argument(fmt::format("paged chunk: {} pages; {} tokens from slot {} on lie in {}",
                                                pages_.size(), tokens, first_slot_, needed));
    auto sorted = pages_;
    std::ranges::sort(sorted);
    if (sorted.back() >= shape.pages)
        throw std::invalid_argument(fmt::format("paged chunk: page {} of {}", sorted.back(), shape.pages));
    if (const auto twice = std::ranges::adjacent_find(sorted); twice != sorted.end())
        throw std::invalid_argument(fmt::format("paged chunk: page {} twice", *twice));
}

} // namespace terrace::cuda
