#include <terrace/fault_adapter.hpp>

#include <algorithm>
#include <atomic>
#include <boost/system/system_error.hpp>
#include <fmt/format.h>
#include <stdexcept>

#include "fault_control.hpp"

namespace terrace {
namespace {

/// Flips bits of one byte; which, depends on the noise.
void corrupt(std::span<std::byte> bytes, std::uint64_t noise) noexcept
{
    if (bytes.empty())
        return;
    noise *= 0xbf58476d1ce4e5b9U;
    bytes[(noise >> 16U) % bytes.size()] ^= std::byte{static_cast<unsigned char>(1U << (noise >> 61U))};
}

/// Has these items store corrupted copies of their bytes, which it returns.
std::vector<std::vector<std::byte>> alter(std::vector<store_item>& items, const bitmap& which, std::uint64_t noise)
{
    std::vector<std::vector<std::byte>> copies;
    which.for_each_set([&](std::size_t i) {
        std::vector<std::byte> copy{items[i].bytes.begin(), items[i].bytes.end()};
        corrupt(copy, noise + i);
        copies.push_back(std::move(copy));
        items[i].bytes = copies.back();
    });
    return copies;
}

/// What a device may leave in a buffer that it does not fill.
void scribble(std::span<std::byte> bytes) noexcept
{
    std::ranges::fill(bytes, std::byte{0xFA});
}

const object_key& key_of(const object_key& key) noexcept
{
    return key;
}
const object_key& key_of(const auto& item) noexcept
{
    return item.key;
}

std::vector<object_key> keys_of(const auto& items, const bitmap& which)
{
    std::vector<object_key> keys;
    which.for_each_set([&](std::size_t i) { keys.push_back(key_of(items[i])); });
    return keys;
}

/// The answer to all items, from the answer to those that were passed on.
bitmap spread(const bitmap& answer, const bitmap& passed)
{
    bitmap all{passed.size()};
    std::size_t next = 0;
    passed.for_each_set([&](std::size_t i) {
        all.set(i, next < answer.size() && answer.test(next));
        ++next;
    });
    return all;
}

bitmap one_bit_too_many(const bitmap& answer)
{
    bitmap wrong{answer.size() + 1, true};
    for (std::size_t i = 0; i < answer.size(); ++i)
        wrong.set(i, answer.test(i));
    return wrong;
}

class fault_adapter : public l2_adapter {
public:
    fault_adapter(std::unique_ptr<l2_adapter> wrapped, std::shared_ptr<fault_control> control)
        : wrapped_{std::move(wrapped)},
          control_{std::move(control)},
          faults_{control_->inside()}
    {
    }

    asio::awaitable<bitmap> lookup_and_lock(std::span<const object_key> keys) override;
    asio::awaitable<bitmap> load(std::span<const load_item> items) override;
    asio::awaitable<bitmap> store(std::span<const store_item> items) override;
    asio::awaitable<void> unlock(std::span<const object_key> keys) override;
    asio::awaitable<bitmap> erase(std::span<const object_key> keys) override;
    asio::awaitable<key_page> list(list_cursor cursor) override;
    void use_memory(std::span<std::byte> l1) override { wrapped_->use_memory(l1); }
    [[nodiscard]] adapter_status status() const override;
    asio::awaitable<void> close() override;

protected:
    /// One call in progress.
    class operation {
    public:
        explicit operation(fault_adapter& owner) : owner_{owner} { ++owner_.in_flight_; }
        ~operation() { --owner_.in_flight_; }
        operation(const operation&) = delete;
        operation& operator=(const operation&) = delete;

    private:
        fault_adapter& owner_;
    };

    [[nodiscard]] fault_control::impl& faults() noexcept { return faults_; }

    /// What goes wrong before a call reaches the wrapped adapter.
    asio::awaitable<void> suffer(const fault_plan& plan);

private:
    template <class Item>
    using call = asio::awaitable<bitmap> (l2_adapter::*)(std::span<const Item>);

    /// Makes the call for the items that the plan lets pass; no bit is set of the others.
    template <class Item>
    asio::awaitable<bitmap> pass_on(call<Item> make, std::span<const Item> items, const fault_plan& plan);
    /// The objects that the plan drops vanish.
    asio::awaitable<void> drop(std::vector<object_key> keys);

    std::unique_ptr<l2_adapter> wrapped_;
    std::shared_ptr<fault_control> control_;
    fault_control::impl& faults_;
    std::atomic<std::uint64_t> in_flight_ = 0;
};

/// Over a demotion_source.
class demoting_fault_adapter final : public fault_adapter, public demotion_source {
public:
    demoting_fault_adapter(std::unique_ptr<l2_adapter> wrapped, demotion_source& source,
                           std::shared_ptr<fault_control> control)
        : fault_adapter{std::move(wrapped), std::move(control)},
          source_{source}
    {
    }

    asio::awaitable<std::vector<stored_object>> lock_victims(std::uint64_t objects, std::uint64_t bytes) override
    {
        const operation running{*this};
        fault_plan plan = faults().plan(fault_calls::lock_victims, 0);
        if (plan.lost)
            plan.error = plan.lost; // nothing is locked by a call that throws
        co_await suffer(plan);
        co_return co_await source_.lock_victims(objects, bytes);
    }

private:
    demotion_source& source_; // the wrapped adapter
};

asio::awaitable<void> fault_adapter::suffer(const fault_plan& plan)
{
    if (plan.delay > nanoseconds{0})
        co_await faults_.sleep(plan.delay);
    if (plan.hang != fault_plan::waiting::none)
        co_await faults_.hang(plan.hang);
    if (plan.error)
        throw boost::system::system_error(*plan.error, "fault adapter");
}

template <class Item>
asio::awaitable<bitmap> fault_adapter::pass_on(call<Item> make, std::span<const Item> items, const fault_plan& plan)
{
    l2_adapter& to = *wrapped_;
    const bitmap passed = plan.passed();
    if (passed.all())
        co_return co_await (to.*make)(items);
    const auto some = gather<std::vector<Item>>(items, passed);
    const bitmap answer = co_await (to.*make)(some);
    co_return spread(answer, passed);
}

asio::awaitable<void> fault_adapter::drop(std::vector<object_key> keys)
{
    if (!keys.empty())
        co_await wrapped_->erase(keys);
}

asio::awaitable<bitmap> fault_adapter::lookup_and_lock(std::span<const object_key> keys)
{
    const operation running{*this};
    fault_plan plan = faults_.plan(fault_calls::lookup, keys.size());
    if (plan.lost)
        plan.error = plan.lost; // nothing is locked by a call that throws
    co_await suffer(plan);
    co_await drop(keys_of(keys, plan.dropped));
    if (plan.wrong_size)
        co_return one_bit_too_many(bitmap{keys.size()});
    co_return co_await pass_on(&l2_adapter::lookup_and_lock, keys, plan);
}

asio::awaitable<bitmap> fault_adapter::load(std::span<const load_item> items)
{
    const operation running{*this};
    const fault_plan plan = faults_.plan(fault_calls::load, items.size());
    co_await suffer(plan);
    for (std::size_t i = 0; i < items.size(); ++i)
        if (plan.hang == fault_plan::waiting::deaf || plan.failed.test(i))
            scribble(items[i].bytes);
    co_await drop(keys_of(items, plan.dropped));
    bitmap loaded = co_await pass_on(&l2_adapter::load, items, plan);

    std::size_t corrupted = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (plan.corrupted.test(i) && i < loaded.size() && loaded.test(i)) {
            corrupt(items[i].bytes, plan.noise + i);
            ++corrupted;
        }
    }
    faults_.count_corrupted(corrupted);
    if (plan.lost)
        throw boost::system::system_error(*plan.lost, "fault adapter: the answer is lost");
    if (plan.wrong_size)
        co_return one_bit_too_many(loaded);
    co_return loaded;
}

asio::awaitable<bitmap> fault_adapter::store(std::span<const store_item> items)
{
    const operation running{*this};
    const fault_plan plan = faults_.plan(fault_calls::store, items.size());
    co_await suffer(plan);
    co_await drop(keys_of(items, plan.dropped));

    std::vector<std::vector<std::byte>> copies;
    std::vector<store_item> altered;
    if (plan.corrupted.any()) {
        altered.assign(items.begin(), items.end());
        copies = alter(altered, plan.corrupted & plan.passed(), plan.noise);
        faults_.count_corrupted(copies.size());
        items = altered;
    }
    bitmap stored = co_await pass_on(&l2_adapter::store, items, plan);

    if (stored.size() == plan.dropped.size())
        stored |= plan.dropped; // the lie
    if (plan.lost)
        throw boost::system::system_error(*plan.lost, "fault adapter: the answer is lost");
    if (plan.wrong_size)
        co_return one_bit_too_many(stored);
    co_return stored;
}

asio::awaitable<void> fault_adapter::unlock(std::span<const object_key> keys)
{
    const operation running{*this};
    const fault_plan plan = faults_.plan(fault_calls::unlock, keys.size());
    co_await suffer(plan);
    const std::vector<object_key> some = keys_of(keys, plan.passed());
    co_await wrapped_->unlock(some);
    if (plan.lost)
        throw boost::system::system_error(*plan.lost, "fault adapter: the answer is lost");
}

asio::awaitable<bitmap> fault_adapter::erase(std::span<const object_key> keys)
{
    const operation running{*this};
    const fault_plan plan = faults_.plan(fault_calls::erase, keys.size());
    co_await suffer(plan);
    bitmap erased = co_await pass_on(&l2_adapter::erase, keys, plan);
    if (erased.size() == plan.dropped.size())
        erased |= plan.dropped; // the lie
    if (plan.lost)
        throw boost::system::system_error(*plan.lost, "fault adapter: the answer is lost");
    if (plan.wrong_size)
        co_return one_bit_too_many(erased);
    co_return erased;
}

asio::awaitable<key_page> fault_adapter::list(list_cursor cursor)
{
    const operation running{*this};
    const fault_plan plan = faults_.plan(fault_calls::list, 0);
    co_await suffer(plan);
    key_page page = co_await wrapped_->list(std::move(cursor));
    if (plan.lost)
        throw boost::system::system_error(*plan.lost, "fault adapter: the answer is lost");
    co_return page;
}

adapter_status fault_adapter::status() const
{
    adapter_status now = wrapped_->status();
    now.name = "fault:" + now.name;
    now.in_flight = in_flight_; // those of the wrapped adapter are among them
    if (const auto death = faults_.death()) {
        now.health = adapter_health::failed;
        now.problem = fmt::format("fault adapter: dead: {}", death->message());
    }
    return now;
}

asio::awaitable<void> fault_adapter::close()
{
    const operation running{*this};
    const fault_plan plan = faults_.plan(fault_calls::close, 0);
    co_await suffer(plan);
    co_await wrapped_->close();
    if (plan.lost)
        throw boost::system::system_error(*plan.lost, "fault adapter: the answer is lost");
}

} // namespace

std::unique_ptr<l2_adapter> make_fault_adapter(std::unique_ptr<l2_adapter> wrapped,
                                               std::shared_ptr<fault_control> control)
{
    if (wrapped == nullptr)
        throw std::invalid_argument("fault adapter: no adapter to wrap");
    if (control == nullptr)
        throw std::invalid_argument("fault adapter: no fault_control");
    // The engine looks for demotion_source by the type of what it gets.
    if (auto* source = dynamic_cast<demotion_source*>(wrapped.get()))
        return std::make_unique<demoting_fault_adapter>(std::move(wrapped), *source, std::move(control));
    return std::make_unique<fault_adapter>(std::move(wrapped), std::move(control));
}

} // namespace terrace
