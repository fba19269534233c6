#include <terrace/cuda/pinned_memory.hpp>

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>

#include <terrace/text_options.hpp>

namespace terrace::cuda {
namespace {

[[nodiscard]] std::uintptr_t address_of(const std::byte* p)
{
    return reinterpret_cast<std::uintptr_t>(p);
}

} // namespace

pinned_memory::pinned_memory(pin_failure on_failure, std::shared_ptr<page_locker> locker)
    : on_failure_{on_failure},
      locker_{std::move(locker)}
{
    if (locker_ == nullptr)
        throw std::invalid_argument("pinned memory: no page locker");
}

void pinned_memory::attach(std::span<std::byte> memory)
{
    std::string failure;
    try {
        locker_->lock(memory);
    } catch (const std::exception& e) {
        failure = *e.what() != '\0' ? e.what() : "unknown";
    }
    std::scoped_lock guard{mutex_};
    if (!failure.empty()) {
        status_.last_failure = failure;
        if (on_failure_ == pin_failure::refuse)
            throw std::runtime_error("a slice of L1 could not be pinned: " + failure);
    }
    const bool pinned = failure.empty();
    const std::uintptr_t first = address_of(memory.data());
    const auto place = std::ranges::upper_bound(slices_, first, {}, &slice::first);
    slices_.insert(place, slice{first, first + memory.size(), pinned});
    ++(pinned ? status_.pinned_slices : status_.unpinned_slices);
    (pinned ? status_.pinned_bytes : status_.unpinned_bytes) += memory.size();
}

void pinned_memory::detach(std::span<std::byte> memory) noexcept
{
    bool pinned = false;
    {
        std::scoped_lock guard{mutex_};
        const auto it = std::ranges::find(slices_, address_of(memory.data()), &slice::first);
        if (it == slices_.end())
            return;
        pinned = it->pinned;
        slices_.erase(it);
        --(pinned ? status_.pinned_slices : status_.unpinned_slices);
        (pinned ? status_.pinned_bytes : status_.unpinned_bytes) -= memory.size();
    }
    if (pinned)
        locker_->unlock(memory);
}

std::string pinned_memory::problem() const
{
    const pinned_status now = status();
    if (now.unpinned_slices == 0)
        return {};
    return fmt::format("{} of L1 could not be pinned, copies to and from a GPU take twice as long there: {}",
                       format_bytes(now.unpinned_bytes), now.last_failure);
}

pinned_status pinned_memory::status() const
{
    std::scoped_lock guard{mutex_};
    return status_;
}

const pinned_memory::slice* pinned_memory::find(std::uintptr_t address) const
{
    auto next = std::ranges::upper_bound(slices_, address, {}, &slice::first);
    if (next == slices_.begin())
        return nullptr;
    --next;
    return address < next->last ? &*next : nullptr;
}

bool pinned_memory::is_pinned(std::span<const std::byte> bytes) const
{
    std::scoped_lock guard{mutex_};
    const std::uintptr_t last = address_of(bytes.data()) + bytes.size();
    for (std::uintptr_t at = address_of(bytes.data()); at < last;) {
        const slice* s = find(at);
        if (s == nullptr || !s->pinned)
            return false;
        at = s->last;
    }
    return true;
}

std::size_t pinned_memory::in_one_slice(std::span<const std::byte> bytes) const
{
    std::scoped_lock guard{mutex_};
    const std::uintptr_t at = address_of(bytes.data());
    const slice* s = find(at);
    return s == nullptr ? bytes.size() : std::min<std::size_t>(bytes.size(), s->last - at);
}

} // namespace terrace::cuda
