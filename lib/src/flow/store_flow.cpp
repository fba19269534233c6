#include "flow/store_flow.hpp"

#include <algorithm>
#include <utility>

namespace terrace {

bool store_flow::offer(store_offer objects)
{
    held_bytes_ += context_.l1->room_of(objects.objects);
    std::scoped_lock guard{mutex_};
    offered_.push_back(std::move(objects));
    return offered_.size() == 1;
}

void store_flow::take_offers()
{
    std::vector<store_offer> fresh;
    {
        std::scoped_lock guard{mutex_};
        fresh.swap(offered_);
    }
    for (store_offer& offered : fresh) {
        const std::uint64_t bytes = context_.l1->room_of(offered.objects);
        consider(std::move(offered));
        held_bytes_ -= bytes;
    }
}

void store_flow::consider(store_offer offered)
{
    const auto adapters = context_.adapters.snapshot();
    const read_lease& objects = offered.objects;
    if (context_.stopping()) {
        context_.counters.targeted_objects += objects.size() * adapters->size();
        context_.counters.dropped_objects += objects.size() * adapters->size();
        return;
    }
    std::vector<object_key> keys;
    std::vector<std::uint64_t> bytes;
    for (std::size_t i = 0; i < objects.size(); ++i) {
        keys.push_back(objects.key(i));
        bytes.push_back(objects.bytes(i).size());
    }
    store_candidates candidates;
    candidates.keys = keys;
    candidates.bytes = bytes;
    candidates.adapters = adapters->size();
    candidates.reason = offered.reason;
    candidates.now = context_.clock->now();

    const auto targets = decisions_.targets(candidates);
    if (!targets)
        return;
    if (offered.reason == store_reason::wanted)
        context_.counters.wanted_objects += keys.size();
    enqueue(offered, *adapters, *targets);

    bitmap declined{keys.size(), true};
    for (const bitmap& which : *targets)
        declined -= which;
    context_.counters.declined_objects += declined.count();
    if (declined.any() && decisions_.reconsiders())
        context_.l1->offer_when_wanted(objects, declined, offered.written);
}

void store_flow::enqueue(const store_offer& chosen, const adapter_list& adapters, const std::vector<bitmap>& targets)
{
    bitmap wanted{chosen.objects.size()};
    std::uint64_t window = ~std::uint64_t{0};
    for (std::size_t i = 0; i < targets.size(); ++i)
        if (targets[i].any()) {
            wanted |= targets[i];
            window = std::min(window, adapters[i]->options().store_window_bytes);
        }
    std::vector<std::vector<store_job>> jobs_of(targets.size()); // in order of the objects
    for (std::size_t begin = 0; begin < wanted.size();) {
        bitmap part{wanted.size()};
        std::uint64_t bytes = 0;
        std::size_t end = begin;
        for (; end < wanted.size(); ++end) {
            if (!wanted.test(end))
                continue;
            const std::uint64_t more = chosen.objects.bytes(end).size();
            if (bytes != 0 && bytes + more > window)
                break;
            bytes += more;
            part.set(end);
        }
        begin = end;
        if (part.none())
            continue;

        const auto objects = context_.l1->share(chosen.objects, part);
        store_batch::listener& me = *this;
        const std::uint64_t room = context_.l1->room_of(objects);
        auto batch = std::make_shared<store_batch>(me, ++last_batch_, chosen.written, objects.size(), room);
        held_bytes_ += room;
        outstanding_.insert(batch->number());
        std::vector<store_job> jobs(targets.size());
        for (std::size_t i = 0; i < targets.size(); ++i) {
            store_job& job = jobs[i];
            job.which = bitmap{objects.size()};
            std::size_t at = 0;
            part.for_each_set([&](std::size_t key) { job.which.set(at++, targets[i].test(key)); });
            batch->ask(job.which); // all of them, before the first can be done
        }
        for (std::size_t i = 0; i < targets.size(); ++i) {
            store_job& job = jobs[i];
            if (job.which.none())
                continue;
            job.of = batch;
            job.objects = context_.l1->share(objects, job.which);
            job.bytes = bytes_of(job.objects);
            jobs_of[i].push_back(std::move(job));
        }
    }
    for (std::size_t i = 0; i < targets.size(); ++i)
        if (!jobs_of[i].empty())
            lane(adapters[i]).enqueue(std::move(jobs_of[i]));
}

void store_flow::done(const store_batch& batch, const read_lease& objects, const bitmap& stored, const bitmap& failed)
{
    if (stored.any()) {
        const bitmap deletions = decisions_.l1_deletions(keys_of(objects), stored);
        if (deletions.any())
            context_.l1->erase_held(objects, deletions);
    }
    if (failed.any() && !context_.stopping())
        context_.l1->offer_when_wanted(objects, failed, batch.written());
}

void store_flow::late(const store_batch& batch) noexcept
{
    outstanding_.erase(batch.number());
    changed_.notify_all();
}

void store_flow::ended(const store_batch& batch) noexcept
{
    outstanding_.erase(batch.number());
    held_bytes_ -= batch.room();
    changed_.notify_all();
}

store_lane& store_flow::lane(const std::shared_ptr<adapter_slot>& slot)
{
    auto& lane = lanes_[slot->id()];
    if (lane == nullptr)
        lane = std::make_shared<store_lane>(context_, demotion_, slot);
    return *lane;
}

asio::awaitable<void> store_flow::flush()
{
    take_offers();
    const std::uint64_t last = last_batch_;
    flow_context::request turn{context_}; // close() waits for it
    while (!outstanding_.empty() && *outstanding_.begin() <= last) {
        context_.throw_if_stopping();
        co_await changed_.wait();
    }
}

void store_flow::leave(const adapter_slot& slot)
{
    if (auto lane = lanes_.extract(slot.id()))
        lane.mapped()->close();
}

void store_flow::stop()
{
    take_offers();
    for (auto& [id, lane] : lanes_)
        lane->close();
    changed_.notify_all();
}

} // namespace terrace
