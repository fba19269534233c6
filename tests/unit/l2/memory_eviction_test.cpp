#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <doctest/doctest.h>
#include <stdexcept>

#include <terrace/memory_adapter.hpp>

using namespace terrace;

namespace {

constexpr std::size_t each = 100;

object_key key(std::uint64_t n, std::string_view salt = {})
{
    return object_key{"model", chunk_hash::from_number(n), 0, 0, salt};
}

/// A memory adapter with room for three objects, and calls that end at once.
struct small_store {
    explicit small_store(const std::string& eviction, std::shared_ptr<quota_table> quotas = nullptr)
    {
        memory_options options;
        options.capacity_bytes = 3 * each;
        options.eviction = eviction;
        options.quotas = std::move(quotas);
        adapter = std::make_unique<memory_adapter>(options);
    }

    bitmap run(asio::awaitable<bitmap> call)
    {
        asio::io_context io;
        bitmap answer;
        asio::co_spawn(io, std::move(call), [&](std::exception_ptr error, bitmap value) {
            REQUIRE_FALSE(error);
            answer = std::move(value);
        });
        io.run();
        return answer;
    }
    bitmap put(const std::vector<object_key>& keys)
    {
        const std::vector<std::byte> bytes(each);
        std::vector<store_item> items;
        for (const object_key& k : keys)
            items.emplace_back(k, memory_layout::bytes(each), bytes);
        return run(adapter->store(items));
    }
    bitmap get(const std::vector<object_key>& keys)
    {
        std::vector<std::byte> bytes(each);
        std::vector<load_item> items;
        for (const object_key& k : keys)
            items.emplace_back(k, memory_layout::bytes(each), bytes);
        return run(adapter->load(items));
    }
    bitmap lookup(const std::vector<object_key>& keys) { return run(adapter->lookup_and_lock(keys)); }
    [[nodiscard]] bool has(const object_key& k) { return lookup({k}).all(); }

    std::unique_ptr<memory_adapter> adapter;
};

} // namespace

TEST_CASE("memory adapter: full, its policy decides what goes")
{
    SUBCASE("lru: of a batch the tail before the head, as it was stored")
    {
        small_store s{"lru"};
        s.put({key(1), key(2), key(3)});
        s.put({key(4)});
        CHECK_FALSE(s.has(key(3)));
        CHECK(s.has(key(1)));
    }
    SUBCASE("or loaded")
    {
        small_store s{"lru"};
        s.put({key(1), key(2), key(3)});
        s.get({key(3), key(2), key(1)});
        s.put({key(4)});
        CHECK_FALSE(s.has(key(1)));
        CHECK(s.has(key(3)));
    }
    SUBCASE("s3fifo: what was wanted twice stays while others pass")
    {
        small_store s{"s3fifo"};
        s.put({key(1)});
        s.get({key(1)});
        s.get({key(1)});
        for (std::uint64_t n = 2; n < 10; ++n)
            s.put({key(n)});
        CHECK(s.has(key(1)));
        CHECK_FALSE(s.has(key(7)));
    }
    SUBCASE("none: a store fails when there is no room")
    {
        small_store s{"none"};
        CHECK(s.put({key(1), key(2), key(3)}).all());
        CHECK(s.put({key(4)}).none());
        CHECK(s.adapter->status().failed_stores == 1);
        CHECK(s.adapter->status().evicted_objects == 0);
    }
    SUBCASE("isolated_lru: what is over a quota goes at the next store")
    {
        const auto quotas = std::make_shared<quota_table>();
        small_store s{"isolated_lru", quotas};
        s.put({key(1, "x"), key(2, "x")});
        quotas->set("x", each);
        CHECK(s.adapter->status().objects == 2);
        s.put({key(3)});
        CHECK(s.adapter->status().objects == 2);
        CHECK_FALSE(s.has(key(2, "x")));
    }
}

TEST_CASE("memory adapter: its spec names the policy, and one that there is not is refused")
{
    CHECK(make_memory_adapter(adapter_spec::parse("memory:?capacity=1KiB&eviction=isolated_lru")) != nullptr);
    CHECK_THROWS_WITH_AS((void)make_memory_adapter(adapter_spec::parse("memory:?eviction=fifo")),
                         doctest::Contains("\"fifo\" is unknown; expected lru, s3fifo, isolated_lru or none"),
                         std::invalid_argument);
}
