#include "bench/watched_adapter.hpp"

#include <utility>

namespace terrace::bench {
namespace {

class watched_adapter final : public l2_adapter {
public:
    watched_adapter(std::unique_ptr<l2_adapter> watched, std::shared_ptr<store_watch> watch)
        : watched_{std::move(watched)},
          watch_{std::move(watch)}
    {
    }

    asio::awaitable<bitmap> lookup_and_lock(std::span<const object_key> keys) override
    {
        return watched_->lookup_and_lock(keys);
    }
    asio::awaitable<bitmap> load(std::span<const load_item> items) override { return watched_->load(items); }
    asio::awaitable<bitmap> store(std::span<const store_item> items) override
    {
        auto stored = co_await watched_->store(items);
        watch_->stored(stored.count());
        co_return stored;
    }
    asio::awaitable<void> unlock(std::span<const object_key> keys) override { return watched_->unlock(keys); }
    asio::awaitable<bitmap> erase(std::span<const object_key> keys) override { return watched_->erase(keys); }
    asio::awaitable<key_page> list(list_cursor cursor) override { return watched_->list(std::move(cursor)); }
    [[nodiscard]] adapter_status status() const override { return watched_->status(); }
    asio::awaitable<void> close() override { return watched_->close(); }

private:
    std::unique_ptr<l2_adapter> watched_;
    std::shared_ptr<store_watch> watch_;
};

} // namespace

void store_watch::expect(std::size_t objects)
{
    missing_ = objects;
    there_ = false;
    watch_ = stopwatch{};
}

void store_watch::stored(std::size_t objects)
{
    if (objects == 0 || missing_ == 0)
        return;
    missing_ -= std::min(objects, missing_);
    if (missing_ != 0)
        return;
    seconds_ = watch_.seconds();
    cpu_ = watch_.cpu();
    there_.store(true, std::memory_order_release);
}

std::unique_ptr<l2_adapter> make_watched_adapter(std::unique_ptr<l2_adapter> watched,
                                                 std::shared_ptr<store_watch> watch)
{
    return std::make_unique<watched_adapter>(std::move(watched), std::move(watch));
}

} // namespace terrace::bench
