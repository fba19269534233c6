#include <terrace/l1_memory.hpp>

#include <fmt/format.h>
#include <stdexcept>

namespace terrace {

std::uint64_t l1_memory::offset_of(std::span<const std::byte> object) const
{
    // As numbers: pointers into different arrays have no order.
    const auto start = reinterpret_cast<std::uintptr_t>(base_.data());
    const auto at = reinterpret_cast<std::uintptr_t>(object.data());
    if (at < start || object.size() > base_.size() || at - start > base_.size() - object.size())
        throw std::invalid_argument(fmt::format("offset_of: {} bytes at {:#x}; expected bytes of L1, which are {} at "
                                                "{:#x}",
                                                object.size(), at, base_.size(), start));
    return at - start;
}

} // namespace terrace
