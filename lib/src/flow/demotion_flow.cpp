#include "flow/demotion_flow.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

namespace terrace {
namespace {

constexpr std::uint64_t page = 4096; // where direct I/O wants its buffers to start

/// Page-aligned memory that is not L1's.
class bounce_buffer {
public:
    explicit bounce_buffer(std::uint64_t bytes) : data_{static_cast<std::byte*>(std::aligned_alloc(page, bytes))}
    {
        if (data_ == nullptr)
            throw std::bad_alloc{};
    }
    [[nodiscard]] std::byte* data() const noexcept { return data_.get(); }

private:
    struct freed {
        void operator()(std::byte* data) const noexcept { std::free(data); }
    };
    std::unique_ptr<std::byte, freed> data_;
};

std::vector<object_key> names_of(const std::vector<stored_object>& objects)
{
    std::vector<object_key> keys;
    keys.reserve(objects.size());
    for (const stored_object& object : objects)
        keys.push_back(object.key);
    return keys;
}

std::uint64_t paged(std::uint64_t bytes)
{
    return (bytes + page - 1) / page * page;
}

} // namespace

/// What is to move, locked where it is.
class demotion_flow::locked_victims {
public:
    locked_victims() = default;
    locked_victims(flow_context& context, slot_ptr in, std::vector<stored_object> victims)
        : objects{std::move(victims)},
          keys{std::make_shared<const std::vector<object_key>>(names_of(objects))},
          locks{context, std::move(in), keys, bitmap{objects.size(), true}}
    {
    }

    std::vector<stored_object> objects;
    key_list keys;
    l2_locks locks;
};

demotion_flow::slot_ptr demotion_flow::below(const adapter_slot& slot) const
{
    const auto adapters = context_.adapters.snapshot();
    const auto at = std::ranges::find(*adapters, slot.id(), &adapter_slot::id);
    if (at == adapters->end())
        return nullptr;
    const auto from = static_cast<std::size_t>(at - adapters->begin());
    const auto onto = decisions_.demotion(from, adapters->size());
    return onto ? (*adapters)[*onto] : nullptr;
}

bool demotion_flow::applies_to(const adapter_slot& slot) const
{
    return slot.demotes() != nullptr && below(slot) != nullptr;
}

asio::awaitable<void> demotion_flow::make_room(std::shared_ptr<adapter_slot> in, std::uint64_t objects,
                                               std::uint64_t bytes, task_scope::task& me, std::function<void()> done)
{
    struct at_end {
        explicit at_end(std::function<void()> f) : call{std::move(f)} {}
        ~at_end() { call(); }
        at_end(const at_end&) = delete;
        at_end& operator=(const at_end&) = delete;
        std::function<void()> call;
    };
    const at_end whatever_happens{std::move(done)};
    const std::size_t depth = context_.adapters.snapshot()->size();
    co_await move_down(std::move(in), objects, bytes, depth, me);
}

asio::awaitable<void> demotion_flow::move_down(slot_ptr from, std::uint64_t objects, std::uint64_t bytes,
                                               std::size_t depth, task_scope::task& me)
{
    const slot_ptr onto = below(*from);
    if (onto == nullptr || from->demotes() == nullptr || depth == 0)
        co_return;
    // Usually one round: what somebody locks while it is being moved stays above, and others have to go for it.
    constexpr int rounds = 4;
    for (int round = 0; round < rounds; ++round) {
        auto victims = co_await lock_victims(from, objects, bytes, me);
        if (victims.objects.empty() || !co_await move_all(from, onto, std::move(victims), depth, me))
            break;
    }
}

asio::awaitable<bool> demotion_flow::move_all(slot_ptr from, slot_ptr onto, locked_victims locked, std::size_t depth,
                                              task_scope::task& me)
{
    const std::span<const stored_object> victims{locked.objects};
    key_changes::change moving{from->changes, *locked.keys};
    moving.late(); // who stores into it waits for all of the move, or for nothing of it
    bool all_moved = true;
    for (std::size_t begin = 0; begin < victims.size() && usable(*from) && usable(*onto);) {
        std::size_t end = begin;
        std::uint64_t window = 0;
        for (; end < victims.size(); ++end) {
            const std::uint64_t more = paged(victims[end].layout.size_bytes());
            if (end != begin && window + more > window_bytes_)
                break;
            window += more;
        }
        const auto some = victims.subspan(begin, end - begin);
        const bitmap below_now = co_await copy_down(from, onto, some, depth, me);
        bitmap moved{victims.size()};
        below_now.for_each_set([&](std::size_t i) { moved.set(begin + i); });
        context_.counters.failed_demotions += some.size() - below_now.count();
        begin = end;
        all_moved = all_moved && below_now.all();
        if (moved.none())
            continue;

        l2_locks unlocked = locked.locks.take(moved);
        co_await unlocked.give_back(me);
        if (!usable(*from))
            break; // it is in both
        const auto gone = gather<std::vector<object_key>, object_key>(*locked.keys, moved);
        const auto timeout = from->options().lookup_timeout;
        adapter_call erasing{from, &adapter_slot::erases, breaker::permit{}, *context_.clock, timeout, me};
        adapter_call::maker erase = [&] { return from->adapter().erase(gone); };
        (void)co_await erasing.answer(std::move(erase), gone.size());
    }
    co_return all_moved;
}

asio::awaitable<demotion_flow::locked_victims> demotion_flow::lock_victims(slot_ptr from, std::uint64_t objects,
                                                                           std::uint64_t bytes, task_scope::task& me)
{
    locked_victims victims;
    auto permit = from->lookup_breaker.try_begin(context_.clock->now());
    if (!permit || !usable(*from))
        co_return victims;
    const auto timeout = from->options().lookup_timeout;
    adapter_call asking{from, &adapter_slot::lookups, std::move(*permit), *context_.clock, timeout, me};
    try {
        auto locked = co_await from->demotes()->lock_victims(objects, bytes);
        asking.succeeded();
        // All are in a guard before the next co_await, which may throw.
        const bitmap being_stored = from->changes.with(names_of(locked)).all();
        std::vector<stored_object> to_move;
        std::vector<stored_object> to_stay;
        for (std::size_t i = 0; i < locked.size(); ++i)
            (being_stored.test(i) ? to_stay : to_move).push_back(std::move(locked[i]));
        victims = locked_victims{context_, from, std::move(to_move)};
        const locked_victims unlocked{context_, from, std::move(to_stay)};
    } catch (...) {
        asking.caught();
    }
    co_return victims;
}

asio::awaitable<bitmap> demotion_flow::copy_down(slot_ptr from, slot_ptr onto, std::span<const stored_object> victims,
                                                 std::size_t depth, task_scope::task& me)
{
    bitmap below_now{victims.size()};
    std::uint64_t room = 0;
    for (const stored_object& victim : victims)
        room += paged(victim.layout.size_bytes());
    const bounce_buffer buffer{room};

    std::vector<load_item> loads;
    std::uint64_t offset = 0;
    for (const stored_object& victim : victims) {
        const std::uint64_t size = victim.layout.size_bytes();
        loads.emplace_back(victim.key, victim.layout, std::span{buffer.data() + offset, size});
        offset += paged(size);
    }
    bitmap loaded{victims.size()};
    if (auto permit = from->load_breaker.try_begin(context_.clock->now()); permit && usable(*from)) {
        const auto timeout = from->options().load_timeout;
        adapter_call loading{from, &adapter_slot::loads, std::move(*permit), *context_.clock, timeout, me};
        from->know(context_.l1->usable_memory());
        adapter_call::maker load = [&] { return from->adapter().load(loads); };
        loaded = co_await loading.answer(std::move(load), loads.size());
    }
    if (loaded.none() || !usable(*from))
        co_return below_now;

    std::vector<store_item> stores;
    std::uint64_t bytes = 0;
    loaded.for_each_set([&](std::size_t i) {
        stores.emplace_back(loads[i].key, loads[i].layout, loads[i].bytes, store_mode::replace);
        bytes += loads[i].bytes.size();
    });
    co_await move_down(onto, stores.size(), bytes, depth - 1, me);
    if (auto permit = onto->store_breaker.try_begin(context_.clock->now()); permit && usable(*onto)) {
        const auto timeout = onto->options().store_timeout;
        adapter_call storing{onto, &adapter_slot::stores, std::move(*permit), *context_.clock, timeout, me};
        onto->know(context_.l1->usable_memory());
        adapter_call::maker store = [&] { return onto->adapter().store(stores); };
        const bitmap stored = co_await storing.answer(std::move(store), stores.size());
        std::size_t i = 0;
        loaded.for_each_set([&](std::size_t at) { below_now.set(at, stored.test(i++)); });
        context_.counters.demoted_objects += stored.count();
        stored.for_each_set([&](std::size_t at) { context_.counters.demoted_bytes += stores[at].bytes.size(); });
    }
    co_return below_now;
}

} // namespace terrace
