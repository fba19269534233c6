#include "base/assert.hpp"
#include "l1/l1_cache.hpp"

#include <fmt/format.h>
#include <stdexcept>

namespace terrace {

std::string_view to_string(l1_error e) noexcept
{
    switch (e) {
    case l1_error::none:
        return "none";
    case l1_error::already_resident:
        return "already_resident";
    case l1_error::not_resident:
        return "not_resident";
    case l1_error::out_of_memory:
        return "out_of_memory";
    case l1_error::larger_than_l1:
        return "larger_than_l1";
    case l1_error::closed:
        return "closed";
    }
    return "unknown";
}

// ---- read_lease ------------------------------------------------------------------------------------------------

read_lease::read_lease() noexcept = default;
read_lease::read_lease(std::shared_ptr<l1_cache> l1, std::vector<l1_entry*> held, std::uint32_t readers) noexcept
    : l1_{std::move(l1)},
      held_{std::move(held)},
      readers_{readers}
{
}
read_lease::read_lease(read_lease&& from) noexcept
{
    swap(from);
}
read_lease& read_lease::operator=(read_lease from) noexcept
{
    swap(from);
    return *this;
}
read_lease::~read_lease()
{
    if (l1_ != nullptr)
        l1_->release(std::move(held_), readers_);
}

void read_lease::swap(read_lease& other) noexcept
{
    l1_.swap(other.l1_);
    held_.swap(other.held_);
    std::swap(readers_, other.readers_);
}

const object_key& read_lease::key(std::size_t i) const
{
    return held_.at(i)->key;
}

std::span<const std::byte> read_lease::bytes(std::size_t i) const
{
    return l1_->bytes(*held_.at(i));
}

std::vector<read_lease> read_lease::split()
{
    std::vector<read_lease> parts;
    parts.reserve(readers_);
    std::vector<std::vector<l1_entry*>> copies(readers_, held_); // what may throw comes before what may not
    for (auto& held : copies)
        parts.push_back(read_lease{l1_, std::move(held), 1});
    l1_.reset();
    held_.clear();
    readers_ = 0;
    return parts;
}

// ---- write_lease -----------------------------------------------------------------------------------------------

write_lease::write_lease() noexcept = default;
write_lease::write_lease(std::shared_ptr<l1_cache> l1, std::vector<slot> slots, write_mode mode) noexcept
    : l1_{std::move(l1)},
      slots_{std::move(slots)},
      mode_{mode}
{
}
write_lease::write_lease(write_lease&& from) noexcept
{
    swap(from);
}
write_lease& write_lease::operator=(write_lease from) noexcept
{
    swap(from);
    return *this;
}
write_lease::~write_lease()
{
    if (!slots_.empty())
        l1_->discard(std::move(slots_));
}

void write_lease::swap(write_lease& other) noexcept
{
    l1_.swap(other.l1_);
    slots_.swap(other.slots_);
    std::swap(mode_, other.mode_);
}

std::span<std::byte> write_lease::bytes(std::size_t i) const
{
    const slot& s = slots_.at(i);
    if (s.entry == nullptr)
        return {};
    return l1_->bytes(*s.entry);
}

bitmap write_lease::reserved() const
{
    bitmap b{slots_.size()};
    for (std::size_t i = 0; i < slots_.size(); ++i)
        b.set(i, slots_[i].error == l1_error::none);
    return b;
}

std::size_t write_lease::leading() const
{
    return reserved().leading();
}

void write_lease::commit()
{
    if (!slots_.empty())
        l1_->commit(slots_, mode_, nullptr);
    slots_.clear();
}

void write_lease::commit(const bitmap& filled)
{
    if (filled.size() != slots_.size())
        throw std::invalid_argument(fmt::format("write_lease::commit: a bitmap of {} bits; expected one of {}, a bit "
                                                "for each key of the lease",
                                                filled.size(), slots_.size()));
    if (!slots_.empty())
        l1_->commit(slots_, mode_, &filled);
    slots_.clear();
}

// ---- l1_pins ---------------------------------------------------------------------------------------------------

l1_pins::~l1_pins()
{
    if (l1_ != nullptr)
        l1_->release(std::move(at_), readers_);
}

void l1_pins::swap(l1_pins& other) noexcept
{
    l1_.swap(other.l1_);
    at_.swap(other.at_);
    std::swap(present_, other.present_);
    std::swap(readers_, other.readers_);
}

void l1_pins::keep_only(const bitmap& wanted)
{
    const bitmap surplus = present_ - wanted;
    if (surplus.none())
        return;
    std::vector<l1_entry*> released;
    released.reserve(surplus.count());
    surplus.for_each_set([&](std::size_t i) { released.push_back(std::exchange(at_[i], nullptr)); });
    present_ -= surplus;
    l1_->release(std::move(released), readers_);
}

void l1_pins::retain()
{
    if (l1_ != nullptr)
        l1_->retain(at_);
}

read_lease l1_pins::into_lease() &&
{
    return l1_cache::to_lease(std::move(*this));
}

} // namespace terrace
