#include "flow/store_flow.hpp"

#include <boost/asio/post.hpp>
#include <utility>

namespace terrace {

/// Shared by the jobs it is made of: with the last of them it ends, and what the policy no longer wants in L1 goes.
class store_flow::batch {
public:
    batch(store_flow& flow, read_lease objects, std::uint64_t number)
        : flow_{flow},
          objects_{std::move(objects)},
          number_{number},
          asked_{objects_.size()},
          failed_{objects_.size()}
    {
        keys_.reserve(objects_.size());
        for (std::size_t i = 0; i < objects_.size(); ++i)
            keys_.push_back(objects_.key(i));
        flow_.outstanding_.insert(number_);
    }
    ~batch()
    {
        const bitmap deletions = flow_.policy_->select_l1_deletions(keys_, asked_ - failed_);
        if (deletions.any())
            flow_.context_.l1->erase_held(objects_, deletions);
        flow_.outstanding_.erase(number_);
        --flow_.batches_;
        flow_.changed_.notify_all();
    }
    batch(const batch&) = delete;
    batch& operator=(const batch&) = delete;

    [[nodiscard]] const std::vector<object_key>& keys() const noexcept { return keys_; }
    [[nodiscard]] const read_lease& objects() const noexcept { return objects_; }

    void ask(const bitmap& which) { asked_ |= which; }
    void fail(const bitmap& which) { failed_ |= which; }

private:
    store_flow& flow_;
    read_lease objects_;
    std::vector<object_key> keys_;
    const std::uint64_t number_;
    bitmap asked_;
    bitmap failed_; // by at least one target
};

bool store_flow::on_commit(read_lease fresh)
{
    ++batches_;
    std::scoped_lock guard{mutex_};
    committed_.push_back(std::move(fresh));
    return committed_.size() == 1;
}

void store_flow::take_committed()
{
    std::vector<read_lease> fresh;
    {
        std::scoped_lock guard{mutex_};
        fresh.swap(committed_);
    }
    for (read_lease& objects : fresh)
        enqueue(std::move(objects));
}

void store_flow::enqueue(read_lease fresh)
{
    const auto adapters = context_.adapters.snapshot();
    auto of = std::make_shared<batch>(*this, std::move(fresh), ++last_batch_);
    if (context_.stopping()) {
        context_.counters.dropped_objects += of->keys().size() * adapters->size();
        return;
    }
    const auto targets = policy_->select_targets(of->keys(), adapters->size());
    std::vector<std::shared_ptr<lane>> filled;
    for (std::size_t i = 0; i < adapters->size() && i < targets.size(); ++i) {
        if (targets[i].size() != of->keys().size() || targets[i].none())
            continue;
        auto& to = lanes_[(*adapters)[i]->id()];
        if (to == nullptr)
            to = std::make_shared<lane>((*adapters)[i]);
        job j{of, context_.l1->share(of->objects(), targets[i]), targets[i]};
        of->ask(targets[i]);
        note_queued(j, true);
        to->queue.push_back(std::move(j));
        filled.push_back(to);
    }
    of.reset(); // its jobs own it now
    for (const auto& to : filled)
        pump(to);
}

void store_flow::pump(const std::shared_ptr<lane>& to)
{
    // A store may complete before spawn() returns, and comes back here: one loop, no recursion. After some of them the
    // executor's other work gets its turn.
    constexpr int stores_in_a_turn = 16;
    if (to->pumping)
        return;
    to->pumping = true;
    int left = stores_in_a_turn;
    while (!to->queue.empty() && to->in_flight < to->slot->options().stores_in_flight && left-- > 0) {
        job next = std::move(to->queue.front());
        to->queue.pop_front();
        note_queued(next, false);
        ++to->in_flight;
        context_.spawn([&](task_scope::task& me) { return store(to, std::move(next), me); });
    }
    to->pumping = false;
    if (left < 0)
        asio::post(context_.executor, [this, owner = context_.owner.lock(), to] { pump(to); });
}

asio::awaitable<void> store_flow::store(std::shared_ptr<lane> to, job work, task_scope::task& me)
{
    const auto slot = to->slot;
    {
        bitmap stored{work.objects.size()};
        std::uint64_t bytes = 0;
        if (auto permit = slot->store_breaker.try_begin(context_.clock->now()); permit && !slot->closed) {
            adapter_call running{
                slot, &adapter_slot::stores, std::move(*permit), *context_.clock, slot->options().store_timeout, me};
            counted in_flight{context_.counters.stores_in_flight};
            try {
                std::vector<store_item> items;
                items.reserve(work.objects.size());
                for (std::size_t i = 0; i < work.objects.size(); ++i)
                    items.emplace_back(work.objects.key(i), context_.l1->layout(work.objects, i),
                                       work.objects.bytes(i));
                bitmap answer = co_await slot->adapter().store(items);
                if (answer.size() == items.size()) {
                    running.succeeded();
                    stored = std::move(answer);
                } else {
                    running.failed(); // an answer to another question
                }
                stored.for_each_set([&](std::size_t i) { bytes += items[i].bytes.size(); });
            } catch (...) {
                running.caught();
            }
        }
        const std::size_t count = stored.count();
        context_.counters.stored_objects += count;
        context_.counters.stored_bytes += bytes;
        context_.counters.failed_objects += stored.size() - count;
        std::size_t i = 0;
        bitmap failed = work.which;
        work.which.for_each_set([&](std::size_t at) { failed.set(at, !stored.test(i++)); });
        work.of->fail(failed);
        work = job{}; // the memory first, then whoever waits for it
    }
    --to->in_flight;
    pump(to);
}

asio::awaitable<void> store_flow::flush()
{
    take_committed();
    const std::uint64_t last = last_batch_;
    flow_context::request turn{context_}; // close() waits for it
    while (!outstanding_.empty() && *outstanding_.begin() <= last) {
        context_.throw_if_stopping();
        co_await changed_.wait();
    }
}

void store_flow::leave(const adapter_slot& slot)
{
    if (auto it = lanes_.find(slot.id()); it != lanes_.end()) {
        drop_queue(*it->second);
        lanes_.erase(it);
    }
}

void store_flow::stop()
{
    take_committed();
    for (auto& [id, from] : lanes_)
        drop_queue(*from);
    changed_.notify_all();
}

void store_flow::drop_queue(lane& from)
{
    while (!from.queue.empty()) {
        job dropped = std::move(from.queue.front());
        from.queue.pop_front();
        note_queued(dropped, false);
        context_.counters.dropped_objects += dropped.objects.size();
        dropped.of->fail(dropped.which);
    }
}

void store_flow::note_queued(const job& j, bool queued)
{
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < j.objects.size(); ++i)
        bytes += j.objects.bytes(i).size();
    if (queued) {
        context_.counters.queued_objects += j.objects.size();
        context_.counters.queued_bytes += bytes;
    } else {
        context_.counters.queued_objects -= j.objects.size();
        context_.counters.queued_bytes -= bytes;
    }
}

} // namespace terrace
