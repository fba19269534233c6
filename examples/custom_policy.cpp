// Lesson 6: a policy of your own. Policies are pure decisions: they see keys, and say what is to happen. This store
// policy has every chunk kept in a large store, and the first chunks of each prompt in a fast one besides: prompts
// begin alike and end differently, so the heads are what is asked for most.
//
// Prints what each store got, and which of them a prefetch was served from.

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <cstdio>
#include <numeric>
#include <stdexcept>

#include <terrace/memory_adapter.hpp>
#include <terrace/terrace.hpp>

namespace asio = boost::asio;

// [policy]
/// Adapter 0 gets the first `head_chunks` of each prompt, and every adapter behind it gets all of it.
class heads_first final : public terrace::store_policy {
public:
    explicit heads_first(std::size_t head_chunks) : head_chunks_{head_chunks}
    {
        if (head_chunks == 0)
            throw std::invalid_argument("heads_first: head_chunks is 0; expected at least 1");
    }

    [[nodiscard]] std::string_view name() const noexcept override { return "heads_first"; }

    /// What is committed together is one batch: here, a prompt from its first chunk on.
    [[nodiscard]] std::vector<terrace::bitmap> select_targets(const terrace::store_candidates& candidates) override
    {
        const std::size_t chunks = candidates.keys.size();
        std::vector<terrace::bitmap> targets(candidates.adapters, terrace::bitmap{chunks, true});
        if (candidates.adapters > 1)
            targets.front() = terrace::bitmap::first(std::min(head_chunks_, chunks), chunks);
        return targets;
    }

private:
    const std::size_t head_chunks_;
};
// [/policy]

constexpr std::size_t chunks = 8;
const auto layout = terrace::memory_layout::bytes(4096);

std::vector<terrace::object_key> keys_of_the_prompt()
{
    std::vector<std::uint32_t> tokens(chunks * 256);
    std::iota(tokens.begin(), tokens.end(), 0);
    return terrace::token_hasher{256}.keys(tokens, "my-model");
}

asio::awaitable<void> show(terrace::storage_manager& manager)
{
    auto staged = manager.reserve_write(keys_of_the_prompt(), layout);
    for (std::size_t i = 0; i < staged.size(); ++i)
        std::ranges::fill(staged.bytes(i), static_cast<std::byte>(i));
    staged.commit();
    co_await manager.flush();
    manager.clear(terrace::clear_mode::unlocked);

    auto hits = co_await manager.prefetch({keys_of_the_prompt(), layout});
    const auto stores = manager.status().adapters;
    std::printf("the fast store has %d chunks, the large one %d\n", static_cast<int>(stores[0].self.objects),
                static_cast<int>(stores[1].self.objects));
    std::printf("a prefetch brought %zu chunks, by %d load from the fast store and %d from the large one\n",
                hits.prefix_hits, static_cast<int>(stores[0].loads), static_cast<int>(stores[1].loads));
    if (stores[0].self.objects != 2 || stores[1].self.objects != chunks || hits.prefix_hits != chunks ||
        stores[0].loads != 1 || stores[1].loads != 1)
        throw std::logic_error("the policy was not followed");
}

int main()
{
    asio::io_context io{1};
    // [main]
    terrace::config config;
    config.l1.capacity_bytes = 1 << 20;
    config.store = std::make_shared<heads_first>(2);
    terrace::storage_manager manager{io.get_executor(), config};
    manager.add_adapter(std::make_unique<terrace::memory_adapter>()); // the fast one
    manager.add_adapter(std::make_unique<terrace::memory_adapter>()); // the large one
    // [/main]
    auto ended = asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await show(manager);
            co_await manager.close();
        },
        asio::use_future);
    io.run();
    ended.get();
}
