#include "support/world.hpp"

#include <terrace/memory_adapter.hpp>

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

namespace {

/// Memory tiers below one another, of so many objects each; 0: no limit.
struct tiers {
    explicit tiers(std::vector<std::size_t> capacities, std::size_t objects_at_a_time = 16)
        : w{{.l1_objects = 64,
             .adapters = 0,
             .store_policy = "tiered",
             .limits = {.window_bytes = objects_at_a_time * object_bytes}}}
    {
        for (const std::size_t objects : capacities) {
            memory_options options;
            options.capacity_bytes = objects * object_bytes;
            (void)w.manager.add_adapter(std::make_unique<memory_adapter>(options));
        }
    }

    void write_each(std::string_view objects)
    {
        for (const object_key& k : keys(objects)) {
            const auto hash = k.hash().bytes();
            w.write(std::string_view{reinterpret_cast<const char*>(hash.data()), hash.size()});
        }
    }
    /// Writes the object with `version` for each of its bytes.
    void write_version(std::string_view object, int version, write_mode mode)
    {
        auto lease = w.manager.reserve_write(keys(object), w.layout, mode);
        std::ranges::fill(lease.bytes(0), static_cast<std::byte>(version));
        lease.commit();
        w.settle();
    }
    /// The version that a prefetch brings from the tiers.
    [[nodiscard]] int version_below_l1(std::string_view object)
    {
        w.manager.clear(clear_mode::unlocked);
        const auto hit = w.run(w.prefetch(object));
        REQUIRE(hit.prefix_hits == 1);
        return static_cast<int>(hit.lease.bytes(0)[0]);
    }
    [[nodiscard]] adapter_status tier(std::size_t i) const { return w.manager.status().adapters.at(i).self; }
    [[nodiscard]] store_status stores() const { return w.manager.status().store; }

    world w;
};

/// A memory tier whose calls can be held up, once their work is done.
class held_up_tier final : public l2_adapter, public demotion_source {
public:
    struct gates {
        gate victims;
        gate loads;
        gate stores; ///< before their work
        int load_calls = 0;
        int erase_calls = 0;
    };
    held_up_tier(std::shared_ptr<gates> g, std::size_t capacity_objects) : g_{std::move(g)}, tier_{of(capacity_objects)}
    {
    }

    asio::awaitable<std::vector<stored_object>> lock_victims(std::uint64_t objects, std::uint64_t bytes) override
    {
        auto victims = co_await tier_.lock_victims(objects, bytes);
        co_await g_->victims.pass();
        co_return victims;
    }
    asio::awaitable<bitmap> load(std::span<const load_item> items) override
    {
        ++g_->load_calls;
        bitmap loaded = co_await tier_.load(items);
        co_await g_->loads.pass();
        co_return loaded;
    }
    asio::awaitable<bitmap> erase(std::span<const object_key> names) override
    {
        ++g_->erase_calls;
        return tier_.erase(names);
    }
    asio::awaitable<bitmap> lookup_and_lock(std::span<const object_key> names) override
    {
        return tier_.lookup_and_lock(names);
    }
    asio::awaitable<bitmap> store(std::span<const store_item> items) override
    {
        co_await g_->stores.pass();
        co_return co_await tier_.store(items);
    }
    asio::awaitable<void> unlock(std::span<const object_key> names) override { return tier_.unlock(names); }
    asio::awaitable<key_page> list(list_cursor cursor) override { return tier_.list(std::move(cursor)); }
    [[nodiscard]] adapter_status status() const override { return tier_.status(); }
    asio::awaitable<void> close() override { return tier_.close(); }

private:
    static memory_options of(std::size_t objects)
    {
        memory_options options;
        options.capacity_bytes = objects * object_bytes;
        return options;
    }
    const std::shared_ptr<gates> g_;
    memory_adapter tier_;
};

} // namespace

TEST_CASE("tiered: what a tier has no room for moves to the next, once, and is found there")
{
    tiers t{{4, 0}};
    t.write_each("a b c d e f g h i j");
    CHECK(t.tier(0).objects == 4);
    CHECK(t.tier(0).evicted_objects == 0);
    CHECK(t.tier(1).objects == 6);
    CHECK(t.stores().stored_objects == 10);
    CHECK(t.stores().demoted_objects == 6);
    CHECK(t.stores().demoted_bytes == 6 * object_bytes);
    CHECK(t.stores().failed_demotions == 0);
    t.w.manager.clear(clear_mode::unlocked);
    auto hits = t.w.run(t.w.prefetch("a b c d e f g h i j"));
    CHECK(hits.prefix_hits == 10);
    CHECK(intact(hits.lease));
    hits.lease = {};
    CHECK(t.tier(0).locked_objects + t.tier(1).locked_objects == 0);
    t.w.close();
}

TEST_CASE("tiered: a batch makes room for itself in one go, as large as the tier")
{
    tiers t{{4, 0}};
    t.w.write("a b c d");
    t.w.write("e f g h");
    CHECK(t.tier(0).objects == 4);
    CHECK(t.tier(1).objects == 4);
    CHECK(t.tier(0).evicted_objects == 0);
    t.w.close();
}

TEST_CASE("tiered: each tier moves what it has no room for to the next, and the last lets it go")
{
    tiers t{{2, 3, 4}};
    t.write_each("a b c d e f g h i j k l");
    CHECK(t.tier(0).objects == 2);
    CHECK(t.tier(1).objects == 3);
    CHECK(t.tier(2).objects == 4);
    CHECK(t.tier(0).evicted_objects + t.tier(1).evicted_objects == 0);
    CHECK(t.tier(2).evicted_objects == 3); // a, b, c
    t.w.manager.clear(clear_mode::unlocked);
    CHECK(t.w.run(t.w.prefetch("d e f g h i j k l")).prefix_hits == 9);
    t.w.close();
}

TEST_CASE("tiered: what moves down replaces what is there from before an update")
{
    tiers t{{2, 0}};
    t.write_version("a", 1, write_mode::new_only);
    t.write_each("b c"); // a moves down
    CHECK(t.tier(1).objects == 1);
    t.write_version("a", 2, write_mode::update);
    t.write_each("d e f"); // and once more
    CHECK(t.version_below_l1("a") == 2);
    t.w.close();
}

TEST_CASE("tiered: what is being stored anew does not move down meanwhile")
{
    tiers t{std::vector<std::size_t>{}};
    const auto gates = std::make_shared<held_up_tier::gates>();
    (void)t.w.manager.add_adapter(std::make_unique<held_up_tier>(gates, 3));
    (void)t.w.manager.add_adapter(std::make_unique<memory_adapter>());
    t.write_version("a", 1, write_mode::new_only);
    t.write_each("b");
    gates->stores.shut();
    t.write_version("a", 2, write_mode::update);
    t.write_each("c"); // beside what is in flight it lacks the room of one
    CHECK(t.stores().demoted_objects == 0);
    gates->stores.open();
    t.w.settle();
    CHECK(t.version_below_l1("a") == 2);
    CHECK(t.tier(0).objects == 3);
    CHECK(t.tier(0).locked_objects == 0);
    t.w.close();
}

TEST_CASE("tiered: what is stored anew while it moves down is stored afterwards")
{
    tiers t{std::vector<std::size_t>{}};
    const auto gates = std::make_shared<held_up_tier::gates>();
    (void)t.w.manager.add_adapter(std::make_unique<held_up_tier>(gates, 2));
    (void)t.w.manager.add_adapter(std::make_unique<memory_adapter>());
    t.write_version("a", 1, write_mode::new_only);
    t.write_each("b");
    gates->loads.shut();
    t.write_each("c"); // a moves
    SUBCASE("by a queue that waits for the move")
    {
        CHECK(t.stores().stored_objects == 2);
    }
    SUBCASE("by one that does not any more")
    {
        t.w.pass(adapter_options{}.store_timeout);
        CHECK(t.stores().stored_objects == 3);
    }
    const auto before = t.stores().stored_objects;
    t.write_version("a", 2, write_mode::update);
    CHECK(t.stores().stored_objects == before);
    gates->loads.open();
    t.w.pass(1s);
    CHECK(t.stores().stored_objects == 4);
    CHECK(t.version_below_l1("a") == 2);
    t.w.close();
}

TEST_CASE("tiered: what a request holds in a tier stays there, and others go in its place")
{
    tiers t{{3, 0}};
    t.write_each("a b c");
    t.w.manager.clear(clear_mode::unlocked);
    auto ticket = t.w.run(t.w.manager.lookup(t.w.request("a")));
    CHECK(ticket.hits() == 1);
    t.write_each("d e");
    CHECK(t.tier(0).objects == 3);
    CHECK(t.tier(1).objects == 2); // b and c
    ticket = {};
    t.w.settle();
    t.write_each("f");
    CHECK(t.tier(0).objects == 3);
    t.w.close();
}

TEST_CASE("tiered: a next tier that is of no use costs what it would have kept, and nothing else")
{
    tiers t{{2}};
    const auto lower = std::make_shared<scripted_adapter::script>();
    adapter_options options = without_retries();
    options.store_timeout = 5s;
    (void)t.w.manager.add_adapter(std::make_unique<scripted_adapter>(lower), options);
    t.write_each("a b");
    SUBCASE("its stores fail")
    {
        lower->store_throws = true;
        t.write_each("c d");
        CHECK(t.stores().failed_demotions == 2);
    }
    SUBCASE("it stores some")
    {
        lower->unstorable = {key("a").to_string()};
        t.w.write("c d");
        CHECK(t.stores().failed_demotions == 1);
        CHECK(words(lower->stored) == "b");
    }
    SUBCASE("it hangs: the stores above go on after their timeout, and its call when it ends")
    {
        lower->stores.shut();
        t.write_each("c d");
        CHECK(t.stores().stored_objects == 2);
        t.w.pass(adapter_options{}.store_timeout);
        CHECK(t.stores().stored_objects == 4);
        CHECK(lower->store_calls == 1);
        lower->stores.open();
        t.w.settle();
    }
    CHECK(t.stores().stored_objects == 4);
    CHECK(t.tier(0).objects == 2);
    CHECK(t.tier(0).locked_objects == 0);
    CHECK(t.w.resident("c d"));
    t.w.close();
}

TEST_CASE("tiered: closed or without its upper tier in the middle of a move, nothing is left locked")
{
    tiers t{{2}};
    const auto lower = std::make_shared<scripted_adapter::script>();
    (void)t.w.manager.add_adapter(std::make_unique<scripted_adapter>(lower));
    t.write_each("a b");
    lower->stores.shut();
    t.write_each("c");
    CHECK(lower->stores.waiting() == 1);
    SUBCASE("closed")
    {
        auto closing = t.w.start(t.w.manager.close());
        CHECK_FALSE(closing.done());
        lower->stores.open();
        t.w.settle();
        CHECK(closing.done());
    }
    SUBCASE("removed")
    {
        auto removing = t.w.start(t.w.manager.remove_adapter(t.w.manager.status().adapters[0].id));
        t.w.settle();
        lower->stores.open();
        t.w.settle();
        CHECK(removing.done());
        CHECK(words(lower->stored) == "a");
        t.w.close();
    }
    CHECK(t.stores().dropped_objects == 1);
    check_nothing_left(t.w);
}

TEST_CASE("tiered: what an adapter locks to be moved once nobody waits for it any more is unlocked all the same")
{
    tiers t{std::vector<std::size_t>{}};
    const auto gates = std::make_shared<held_up_tier::gates>();
    (void)t.w.manager.add_adapter(std::make_unique<held_up_tier>(gates, 2));
    (void)t.w.manager.add_adapter(std::make_unique<memory_adapter>());
    t.write_each("a b");
    gates->victims.shut();
    t.write_each("c");
    CHECK(t.tier(0).locked_objects == 1);
    t.w.pass(adapter_options{}.lookup_timeout);
    gates->victims.open();
    t.w.settle();
    CHECK(t.tier(0).locked_objects == 0);
    CHECK(t.stores().demoted_objects == 0);
    CHECK(t.stores().stored_objects == 3);
    t.w.close();
}

TEST_CASE("tiered: a move goes no further once the engine closes, or one of the tiers leaves")
{
    enum class ends : std::uint8_t { engine, upper_tier, lower_tier };
    for (const auto what : {ends::engine, ends::upper_tier, ends::lower_tier})
        for (const bool loading : {true, false}) {
            CAPTURE(static_cast<int>(what));
            CAPTURE(loading);
            tiers t{std::vector<std::size_t>{}, 1};
            const auto gates = std::make_shared<held_up_tier::gates>();
            const auto lower = std::make_shared<scripted_adapter::script>();
            const auto upper_id = t.w.manager.add_adapter(std::make_unique<held_up_tier>(gates, 4));
            const auto lower_id = t.w.manager.add_adapter(std::make_unique<scripted_adapter>(lower));
            t.w.write("a b c d");
            (loading ? gates->loads : lower->stores).shut();
            t.w.write("e f g h");
            CHECK(gates->load_calls == 1);
            auto ending = what == ends::engine
                              ? t.w.start(t.w.manager.close())
                              : t.w.start(t.w.manager.remove_adapter(what == ends::upper_tier ? upper_id : lower_id));
            gates->loads.open();
            lower->stores.open();
            t.w.settle();
            CHECK(ending.done());
            CHECK(gates->load_calls == 1);
            CHECK(lower->store_calls == (loading ? 0 : 1));
            CHECK(gates->erase_calls == (!loading && what == ends::lower_tier ? 1 : 0)); // it has moved
            t.w.run(t.w.manager.close());
            check_nothing_left(t.w);
        }
}

TEST_CASE("tiered: a next tier that throws before it returns an awaitable has failed, and not the engine")
{
    class throws_at_once final : public scripted_adapter {
    public:
        using scripted_adapter::scripted_adapter;
        asio::awaitable<bitmap> store(std::span<const store_item>) override
        {
            throw std::runtime_error("scripted: at once");
        }
    };
    tiers t{{2}};
    const auto lower = std::make_shared<scripted_adapter::script>();
    (void)t.w.manager.add_adapter(std::make_unique<throws_at_once>(lower));
    t.w.write("a b");
    t.w.write("c d");
    const auto status = t.w.manager.status();
    CHECK(status.internal_errors == 0);
    CHECK(status.adapters[1].errors == 1);
    CHECK(status.store.failed_demotions == 2);
    CHECK(t.tier(0).locked_objects == 0);
    t.w.close();
}

TEST_CASE("tiered: the next tier hears of L1's memory before its first store")
{
    class registering final : public scripted_adapter {
    public:
        registering(std::shared_ptr<script> s, bool& f) : scripted_adapter{std::move(s)}, too_early{f} {}
        void use_memory(std::span<std::byte>) override { known_ = true; }
        asio::awaitable<bitmap> store(std::span<const store_item> items) override
        {
            too_early = too_early || !known_;
            return scripted_adapter::store(items);
        }
        bool& too_early;

    private:
        bool known_ = false;
    };
    tiers t{{2}};
    const auto lower = std::make_shared<scripted_adapter::script>();
    bool too_early = false;
    (void)t.w.manager.add_adapter(std::make_unique<registering>(lower, too_early));
    t.w.write("a b");
    t.w.write("c d");
    CHECK(lower->store_calls == 1);
    CHECK_FALSE(too_early);
    t.w.close();
}
